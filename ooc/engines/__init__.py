"""How windows become steps."""
