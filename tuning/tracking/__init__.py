"""Callbacks that show a search: progress display, TensorBoard; and the export to MLflow."""
