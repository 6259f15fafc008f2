"""Datasets on disk and behind URLs: opened, read chunk by chunk, written, verified."""
