"""The verbs `predict` and `serve`."""
