"""Faults from outside, each with its expected end; see README.md here."""
