"""The verb `confirm`: train the best configurations again with other seeds and folds, and compare them."""
