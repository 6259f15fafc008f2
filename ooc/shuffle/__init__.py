"""Shuffles: measured, predicted, and, where blocks are not enough, exact."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ooc.shuffle.external_sort import exact, exact_order
    from ooc.shuffle.measurement import measure
    from ooc.shuffle.mixing import draw_mixing

__all__ = ["draw_mixing", "exact", "exact_order", "measure"]

_HOMES = {
    "draw_mixing": "ooc.shuffle.mixing",
    "exact": "ooc.shuffle.external_sort",
    "exact_order": "ooc.shuffle.external_sort",
    "measure": "ooc.shuffle.measurement",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ooc.shuffle' has no attribute {name!r}")
