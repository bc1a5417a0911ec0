"""One training: epochs, optimizers, batches, evaluation, checkpoints, results."""
