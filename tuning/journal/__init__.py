"""The study on disk: an Optuna journal file, its writer, its reader, the records of its trials."""
