"""The tiny corpus of the tests, which the benchmarks use too."""

from benchmarks.inputs.corpora import tiny_corpus

__all__ = ["tiny_corpus"]
