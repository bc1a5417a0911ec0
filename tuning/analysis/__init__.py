"""Analysis of a study: ranking, ties, recommendation, bias correction, filters, tables."""
