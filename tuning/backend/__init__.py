"""Everything that imports Ray: the tuner, its adapters, workers, local Ray, clusters, checkpoint storage."""
