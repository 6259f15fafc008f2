"""Compiled loops over rows; module-level functions that are found again in the disk cache."""
