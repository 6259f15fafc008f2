"""Streaming metrics: what a model tells of a batch, and a table of what is made of it."""

from ooc.metrics.base import Metric
from ooc.metrics.measured import Labels, Measured, Numbers
from ooc.metrics.table import METRICS, States, most_bytes, update, values

__all__ = [
    "METRICS",
    "Labels",
    "Measured",
    "Metric",
    "Numbers",
    "States",
    "most_bytes",
    "update",
    "values",
]
