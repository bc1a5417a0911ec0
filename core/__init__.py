"""Sentences, vectors, models and training. Knows nothing of Ray, Optuna or studies."""
