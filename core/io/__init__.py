"""Files on disk: atomic writes, checksums, the cache, archives, downloads, encodings, text that is safe to show."""
