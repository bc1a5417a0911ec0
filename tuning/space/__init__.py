"""Search spaces: the language of a space file, its validation, the presets, the first trials."""
