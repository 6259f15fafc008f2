"""From a dataset to a run: set-up, the fit loop, and going on where a run was stopped."""
