"""What training leaves: a run, its checkpoints, its directory, what it says of other data."""
