"""Data of other formats on their way to a dataset, out of core: one file a format."""
