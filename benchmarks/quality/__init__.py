"""Whether the accuracies that sentune reports are right, and how good its models are."""
