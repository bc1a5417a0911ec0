"""Tracking of a search: progress display, TensorBoard, and the export to MLflow."""
