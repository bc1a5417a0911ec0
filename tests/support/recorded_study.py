"""Whole studies written without a search, which the benchmarks use too."""

from benchmarks.inputs.recorded_study import BEGAN, EPOCHS, record_study, some_audit

__all__ = ["BEGAN", "EPOCHS", "record_study", "some_audit"]
