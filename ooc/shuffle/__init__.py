"""Shuffles: measured, predicted, and, where blocks are not enough, exact."""

from ooc.shuffle.exact import exact, exact_order

__all__ = ["exact", "exact_order"]
