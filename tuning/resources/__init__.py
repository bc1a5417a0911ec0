"""CPU cores and GPU fractions: resources of the machine, resources of a trial, cost of its steps."""
