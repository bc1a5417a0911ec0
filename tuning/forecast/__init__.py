"""The verb `plan`: measure some trials, simulate the search, report time, disk and memory."""
