"""The verb `retrain`: train a trial again, compare it with the record of the search, save the model."""
