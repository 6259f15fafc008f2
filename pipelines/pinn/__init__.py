"""Networks that learn the laws of physics from points instead of data."""
