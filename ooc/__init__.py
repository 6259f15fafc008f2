"""Train on datasets larger than memory.

Chunked Zarr arrays are shuffled blockwise and streamed as mini-batches into compiled gradient
kernels, inside a memory budget that is a promise. Names are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ooc.version import VERSION

if TYPE_CHECKING:
    from ooc import models, noise, optim, schedules, shuffle
    from ooc.callbacks import Callbacks
    from ooc.dataset import open
    from ooc.halving import Halving
    from ooc.loader import Loader
    from ooc.models.own_loss import own_loss
    from ooc.resuming import resume
    from ooc.run import load
    from ooc.saver import Saving
    from ooc.splits import split
    from ooc.steering import Steering
    from ooc.trainer import Trainer
    from ooc.validation import Validation
    from ooc.writer import create

_HOMES = {
    "Callbacks": "ooc.callbacks",
    "Halving": "ooc.halving",
    "Loader": "ooc.loader",
    "Saving": "ooc.saver",
    "Steering": "ooc.steering",
    "Trainer": "ooc.trainer",
    "Validation": "ooc.validation",
    "create": "ooc.writer",
    "load": "ooc.run",
    "open": "ooc.dataset",
    "own_loss": "ooc.models.own_loss",
    "resume": "ooc.resuming",
    "split": "ooc.splits",
}
_MODULES = ("models", "noise", "optim", "schedules", "shuffle")

__version__ = VERSION
__all__ = [
    "Callbacks",
    "Halving",
    "Loader",
    "Saving",
    "Steering",
    "Trainer",
    "Validation",
    "create",
    "load",
    "models",
    "noise",
    "open",
    "optim",
    "own_loss",
    "resume",
    "schedules",
    "shuffle",
    "split",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"ooc.{name}")
    raise AttributeError(f"module 'ooc' has no attribute {name!r}")
