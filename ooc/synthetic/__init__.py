"""Generated data whose best possible loss is known."""
