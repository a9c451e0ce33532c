"""One file per public data set: how it lies on disk."""
