"""Settings that are good on several datasets: their curves, the portfolio made of them, a review of the spaces."""
