"""The verb `ensemble`: train the selected trials again, verify them, save them as one model."""
