"""Which trial runs next, and when it stops. Uses neither Ray, the disk nor the wall clock."""
