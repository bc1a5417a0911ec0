"""sentune's studies: search spaces, the ordered search on Ray Tune, its journal and what is read from it."""
