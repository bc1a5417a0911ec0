"""What a whole search costs: time, memory, traffic, and how it scales."""
