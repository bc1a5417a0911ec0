"""Shares of CPU and GPU: what the machine has, what a trial gets, what its steps cost."""
