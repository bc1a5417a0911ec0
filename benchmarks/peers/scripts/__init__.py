"""Scripts that run in the environments of the peers, one for each program."""
