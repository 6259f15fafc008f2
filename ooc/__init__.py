"""Train on datasets larger than memory.

Chunked Zarr arrays are shuffled blockwise and streamed as mini-batches into compiled gradient
kernels, inside a memory budget that is a promise. Names are imported when they are first used:

Callbacks
    Functions to call; one that returns True ends the run after this step.
Halving
    How descents are dropped (Jamieson and Talwalkar 2016).
Loader
    Mini-batches of a dataset larger than memory, blockwise shuffled.
OOCClassifier
    A classifier for scikit-learn, trained by `ooc.Trainer`, on arrays or on what is larger.
OOCRegressor
    A regressor for scikit-learn, trained by `ooc.Trainer`, on arrays or on what is larger.
Saving
    When a run is saved: at each epoch's end, and in between.
Steering
    How batch size and temperature change.
StreamOptions
    How rows are read and mixed; what Loader, Trainer, noise measurement and shell share.
Synchronisation
    How often lanes meet, and for how many of them a step waits.
Trainer
    Trains a model on datasets larger than memory.
Validation
    How a run is evaluated while it goes on.
convert
    Write data of another format as a dataset, out of core.
create
    Create a dataset; use the result as a context manager and append rows to it.
load
    Read a saved run, its newest checkpoint that is whole.
models
    Models by name. A new model is one file and one entry here.
noise
    Noise of mini-batch gradients: its variance for many batch sizes in one pass, and its scale.
open
    Open data in Zarr as a dataset; only metadata are read.
optim
    Optimizers: (init, update) pairs over one flat parameter vector, and methods.
own_loss
    Make a loss from one ``@numba.njit`` function (prediction, target) -> (value, derivative).
resume
    Go on with a run where it was saved last, to the bits that it would have had.
schedules
    Learning-rate schedules: functions of the step, compiled, with their constants in two numbers.
shuffle
    Shuffles: measured, predicted, and, where blocks are not enough, exact.
split
    Split a dataset into training and validation rows of the same store, or into more parts.
synthetic
    Generated data whose best possible loss is known.
trackers
    Where what a run tells goes while it goes on, beside its own history: the user's trackers.
"""

from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from ooc.core.garbage import uncollected
from ooc.version import VERSION

if TYPE_CHECKING:
    from ooc import models, optim, shuffle, synthetic
    from ooc.conversion.job import convert
    from ooc.engines.synchronisation import Synchronisation
    from ooc.estimators import OOCClassifier, OOCRegressor
    from ooc.measure import gradient_noise as noise
    from ooc.models.own_loss import own_loss
    from ooc.objects.opening import open
    from ooc.optim import schedules
    from ooc.runs.loading import load
    from ooc.store.writer import create
    from ooc.stream.loader import Loader
    from ooc.stream.options import StreamOptions
    from ooc.stream.splits import split
    from ooc.training.resume import resume
    from ooc.training.trainer import Trainer
    from ooc.training.watchers import trackers
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
    "Synchronisation": "ooc.engines.synchronisation:Synchronisation",
    "Trainer": "ooc.training.trainer:Trainer",
    "Validation": "ooc.training.watchers.validation:Validation",
    "convert": "ooc.conversion.job:convert",
    "create": "ooc.store.writer:create",
    "load": "ooc.runs.loading:load",
    "models": "ooc.models",
    "noise": "ooc.measure.gradient_noise",
    "open": "ooc.objects.opening:open",
    "optim": "ooc.optim",
    "own_loss": "ooc.models.own_loss:own_loss",
    "resume": "ooc.training.resume:resume",
    "schedules": "ooc.optim.schedules",
    "shuffle": "ooc.shuffle",
    "split": "ooc.stream.splits:split",
    "synthetic": "ooc.synthetic",
    "trackers": "ooc.training.watchers.trackers",
}

__version__ = VERSION
__all__ = [
    "Callbacks",
    "Halving",
    "Loader",
    "Saving",
    "Steering",
    "StreamOptions",
    "Synchronisation",
    "Trainer",
    "Validation",
    "convert",
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
    "trackers",
]


# Names of an extra are among those of the package where it is installed.
if find_spec("sklearn") is not None:
    __all__ += ["OOCClassifier", "OOCRegressor"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        with uncollected():
            return resolve_name(_HOMES[name])
    raise AttributeError(f"module 'ooc' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, and those that every module has."""
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
