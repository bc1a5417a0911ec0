"""The verb `distill`: train one LSTM on the probabilities of a larger model."""
