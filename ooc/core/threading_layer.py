"""Which of Numba's threading layers is used: the one that the user names, where it is there."""

import importlib
from typing import Any

import numba
from numba.np.ufunc import parallel

from ooc.core.terminal import say

# Numba's own order.
_USUAL = ("tbb", "omp", "workqueue")
# What each name asks for: one of these.
_LAYERS = {
    "default": _USUAL,
    **{name: (name,) for name in _USUAL},
    "safe": ("tbb",),
    "threadsafe": ("tbb", "omp"),
    "forksafe": ("tbb", "workqueue"),
}
_MODULES = {"tbb": "tbbpool", "omp": "omppool", "workqueue": "workqueue"}


def choose_layer() -> None:
    """Take Numba's own choice where the layer asked for cannot be used, and say so.

    Else the first parallel loop would end the run, long after it began.
    """
    settings: Any = numba.config
    wanted = str(settings.THREADING_LAYER).lower()
    if sorted(settings.THREADING_LAYER_PRIORITY) != sorted(_USUAL):
        settings.THREADING_LAYER_PRIORITY = list(_USUAL)
    if wanted == "default" or any(map(is_installed, _LAYERS.get(wanted, ()))):
        return
    settings.THREADING_LAYER = "default"
    known = "is not installed here" if wanted in _LAYERS else "is none that Numba knows"
    used = next(filter(is_installed, _USUAL))
    say(f"ooc: the threading layer {wanted} of NUMBA_THREADING_LAYER {known}; {used} is used")


def is_installed(layer: str) -> bool:
    """Tell whether a threading layer can be loaded; no thread is started.

    Examples
    --------
    >>> is_installed("workqueue")
    True
    """
    try:
        if layer == "tbb":
            parallel._check_tbb_version_compatible()
        importlib.import_module(f"numba.np.ufunc.{_MODULES[layer]}")
    except ImportError:
        return False
    return True
