"""The page of `sentune report`: what stands in it, and how it is drawn. It runs no search and trains nothing."""
