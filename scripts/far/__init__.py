"""Stores far away, on this machine: a server whose answers take their time, and ways to read it."""
