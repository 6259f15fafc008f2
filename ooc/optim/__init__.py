"""Optimizers: (init, update) pairs over one flat parameter vector.

Methods on the full gradient, in `methods`, are a table of their own.

A new optimizer is a compiled update, a constructor and an entry of `OPTIMIZERS`, all in
`optimizers`. An update never knows a model: it sees vectors, and one vector of settings, whose
entries are named in `settings`.
"""

from collections.abc import Callable
from typing import Any

from ooc.optim.optimizer import Common, Optimizer
from ooc.optim.optimizers import OPTIMIZERS, optimizer_from_config

__all__ = ["OPTIMIZERS", "Common", "Optimizer", "optimizer_from_config"]


def __getattr__(name: str) -> Callable[..., Any]:
    if name in OPTIMIZERS:
        return OPTIMIZERS[name]
    raise AttributeError(f"module 'ooc.optim' has no attribute {name!r}")
