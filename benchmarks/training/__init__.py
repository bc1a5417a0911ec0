"""How fast and how accurate the training of one model is."""
