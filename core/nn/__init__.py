"""The classifier: layers, padded sequences, seeded random numbers, the torch runtime and its environment."""
