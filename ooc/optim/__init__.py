"""Optimizers: (init, update) pairs over one flat parameter vector.

What is asked of the data, mini-batches or the gradient over all rows, is a method's: `methods`.

A new optimizer is one constructor and one entry of `OPTIMIZERS` in `table`, one compiled update
in `descent` or `adaptive`, and one branch of `update_piece` in `step`. An update never knows a
model: it sees vectors, and one vector of settings, whose entries are named in `settings`.
"""

from ooc.optim.methods import (
    FULL_GRADIENT,
    Method,
    as_method,
    cg,
    hybrid,
    lbfgs,
    method_from_config,
)
from ooc.optim.optimizer import Common, Optimizer
from ooc.optim.penalties import clip_scale
from ooc.optim.settings import (
    CLIP,
    CODE,
    FACTOR,
    FIRST,
    HEAT,
    L1,
    L2,
    MOMENTUM,
    NESTEROV,
    OWN,
    PLAIN,
    RATE,
    SCHEDULE,
    SECOND,
    SETTINGS,
    WARMUP,
    rate_at,
)
from ooc.optim.step import update, update_piece
from ooc.optim.table import (
    OPTIMIZERS,
    adagrad,
    adam,
    adamw,
    averaged,
    momentum,
    nesterov,
    optimizer_from_config,
    rmsprop,
    sgd,
)

__all__ = [
    "CLIP",
    "CODE",
    "FACTOR",
    "FIRST",
    "FULL_GRADIENT",
    "HEAT",
    "L1",
    "L2",
    "MOMENTUM",
    "NESTEROV",
    "OPTIMIZERS",
    "OWN",
    "PLAIN",
    "RATE",
    "SCHEDULE",
    "SECOND",
    "SETTINGS",
    "WARMUP",
    "Common",
    "Method",
    "Optimizer",
    "adagrad",
    "adam",
    "adamw",
    "as_method",
    "averaged",
    "cg",
    "clip_scale",
    "hybrid",
    "lbfgs",
    "method_from_config",
    "momentum",
    "nesterov",
    "optimizer_from_config",
    "rate_at",
    "rmsprop",
    "sgd",
    "update",
    "update_piece",
]
