"""From a DATASET argument to a Corpus: readers, columns, splits, audit, tokenizer, vocabulary, word vectors."""
