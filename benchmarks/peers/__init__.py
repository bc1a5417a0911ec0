"""Searches for classifiers by other programs on the same sentences, time and processor."""
