"""Train on datasets larger than memory.

Chunked Zarr arrays are shuffled blockwise and streamed as mini-batches into compiled gradient
kernels, inside a memory budget that is a promise. Names are imported when they are first used.
"""

from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from ooc.version import VERSION

if TYPE_CHECKING:
    from ooc import models, optim, shuffle, synthetic
    from ooc.estimators import OOCClassifier, OOCRegressor
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
    "Callbacks": "ooc.training.watchers.callbacks:Callbacks",
    "Halving": "ooc.training.watchers.halving:Halving",
    "Loader": "ooc.stream.loader:Loader",
    "OOCClassifier": "ooc.estimators:OOCClassifier",
    "OOCRegressor": "ooc.estimators:OOCRegressor",
    "Saving": "ooc.training.watchers.saver:Saving",
    "Steering": "ooc.training.watchers.steering:Steering",
    "StreamOptions": "ooc.stream.options:StreamOptions",
    "Trainer": "ooc.training.trainer:Trainer",
    "Validation": "ooc.training.watchers.validation:Validation",
    "create": "ooc.store.writer:create",
    "load": "ooc.runs.run:load",
    "models": "ooc.models",
    "noise": "ooc.measure.gradient_noise",
    "open": "ooc.store.dataset:open",
    "optim": "ooc.optim",
    "own_loss": "ooc.models.own_loss:own_loss",
    "resume": "ooc.training.resume:resume",
    "schedules": "ooc.optim.schedules",
    "shuffle": "ooc.shuffle",
    "split": "ooc.stream.splits:split",
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


# Names of an extra are among those of the package where it is installed.
if find_spec("sklearn") is not None:
    __all__ += ["OOCClassifier", "OOCRegressor"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return resolve_name(_HOMES[name])
    raise AttributeError(f"module 'ooc' has no attribute {name!r}")
