"""What the benchmarks run on: small corpora, and studies written without a search. The tests use them too."""
