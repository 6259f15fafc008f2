"""Optimizers: (init, update) pairs over one flat parameter vector, and methods.

What is asked of the data, mini-batches or the gradient over all rows, is a method's: `methods`.
"""

from collections.abc import Callable
from typing import Any

from ooc.optim.methods import FULL_GRADIENT, Method, as_method, method_from_config
from ooc.optim.optimizer import Common, Optimizer
from ooc.optim.optimizers import OPTIMIZERS, optimizer_from_config

__all__ = [
    "FULL_GRADIENT",
    "OPTIMIZERS",
    "Common",
    "Method",
    "Optimizer",
    "as_method",
    "method_from_config",
    "optimizer_from_config",
]


def __getattr__(name: str) -> Callable[..., Any]:
    """Return the constructor that has this name in one of the tables."""
    known: dict[str, Callable[..., Any]] = {**OPTIMIZERS, **FULL_GRADIENT}
    if name in known:
        return known[name]
    raise AttributeError(f"module 'ooc.optim' has no attribute {name!r}")
