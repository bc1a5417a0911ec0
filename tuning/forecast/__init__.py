"""The command `plan`: measure some trials, simulate the search, report time, disk and memory."""
