"""What the benchmarks compare sentune with, and the runs of sentune that they compare."""
