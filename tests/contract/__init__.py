"""Models of kinds that `ooc.models` has none of, each a file: examples for writing such models."""
