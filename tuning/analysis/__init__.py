"""What a study shows: ranking, ties, recommendation, bias correction, filters, tables."""
