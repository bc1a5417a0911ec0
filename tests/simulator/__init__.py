"""A simulator of faults, after those of FoundationDB and TigerBeetle: `make simulate`."""
