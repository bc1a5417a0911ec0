"""Trained models: saved folders, model cards, prediction, the scikit-learn estimator, ONNX export."""
