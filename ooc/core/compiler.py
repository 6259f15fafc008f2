"""How every kernel of this package is compiled: cached on disk, without the GIL, NaN kept."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered so that they vectorise. "nnan" and "ninf" are left out on purpose: they
# would let the compiler delete the checks by which NaN is found.
REORDERED_SUMS = {"reassoc", "contract", "arcp", "nsz"}


def kernel(function: Function) -> Function:
    """Compile a module-level function once for each set of argument types.

    A kernel calls other kernels only as module globals: a closure over a compiled function would
    be compiled anew in every process.
    """
    return _compiled(function, fastmath=REORDERED_SUMS)


def exact_kernel(function: Function) -> Function:
    """Compile like `kernel`, with every floating-point operation in the order written."""
    return _compiled(function, fastmath=False)


def parallel_kernel(function: Function) -> Function:
    """Compile like `exact_kernel`, with the iterations of `numba.prange` shared among threads."""
    return _compiled(function, fastmath=False, parallel=True)


def _compiled(function: Function, **options: Any) -> Function:
    compile_ = numba.njit(cache=True, nogil=True, error_model="numpy", **options)
    return cast(Function, compile_(function))
