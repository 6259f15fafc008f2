"""Train on datasets larger than memory.

Chunked Zarr arrays are shuffled blockwise and streamed as mini-batches into compiled gradient
kernels, inside a memory budget that is a promise. Names are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ooc import models, optim, shuffle
    from ooc.dataset import open
    from ooc.loader import Loader
    from ooc.run import load
    from ooc.splits import split
    from ooc.trainer import Trainer
    from ooc.writer import create

__version__ = "0.1.0"
__all__ = ["Loader", "Trainer", "create", "load", "models", "open", "optim", "shuffle", "split"]

_HOMES = {
    "Loader": "ooc.loader",
    "Trainer": "ooc.trainer",
    "create": "ooc.writer",
    "load": "ooc.run",
    "open": "ooc.dataset",
    "split": "ooc.splits",
}
_MODULES = ("models", "optim", "shuffle")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"ooc.{name}")
    raise AttributeError(f"module 'ooc' has no attribute {name!r}")
