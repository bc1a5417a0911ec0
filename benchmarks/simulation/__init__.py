"""Searches replayed in simulated time on recorded learning curves."""
