"""Train on datasets larger than memory.

Chunked Zarr arrays are shuffled blockwise and streamed as mini-batches into compiled gradient
kernels, inside a memory budget that is a promise. Names are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ooc.version import VERSION

if TYPE_CHECKING:
    from ooc import models, optim, shuffle, synthetic
    from ooc.measure import gradient_noise as noise
    from ooc.models.own_loss import own_loss
    from ooc.optim import schedules
    from ooc.runs.run import load
    from ooc.store.dataset import open
    from ooc.store.writer import create
    from ooc.stream.loader import Loader
    from ooc.stream.options import StreamOptions
    from ooc.stream.splits import split
    from ooc.training.resume import resume
    from ooc.training.trainer import Trainer
    from ooc.training.watchers.callbacks import Callbacks
    from ooc.training.watchers.halving import Halving
    from ooc.training.watchers.saver import Saving
    from ooc.training.watchers.steering import Steering
    from ooc.training.watchers.validation import Validation

_HOMES = {
    "Callbacks": "ooc.training.watchers.callbacks",
    "Halving": "ooc.training.watchers.halving",
    "Loader": "ooc.stream.loader",
    "Saving": "ooc.training.watchers.saver",
    "Steering": "ooc.training.watchers.steering",
    "StreamOptions": "ooc.stream.options",
    "Trainer": "ooc.training.trainer",
    "Validation": "ooc.training.watchers.validation",
    "create": "ooc.store.writer",
    "load": "ooc.runs.run",
    "open": "ooc.store.dataset",
    "own_loss": "ooc.models.own_loss",
    "resume": "ooc.training.resume",
    "split": "ooc.stream.splits",
}
_MODULES = {
    "models": "ooc.models",
    "noise": "ooc.measure.gradient_noise",
    "optim": "ooc.optim",
    "schedules": "ooc.optim.schedules",
    "shuffle": "ooc.shuffle",
    "synthetic": "ooc.synthetic",
}

__version__ = VERSION
__all__ = [
    "Callbacks",
    "Halving",
    "Loader",
    "Saving",
    "Steering",
    "StreamOptions",
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
    "synthetic",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'ooc' has no attribute {name!r}")
