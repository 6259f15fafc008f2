"""One thread for BLAS while a kernel shares out its own: no core serves two masters."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS use one thread in this block.

    Kernels call BLAS from threads of their own: with all cores in each call, the order of sums
    would depend on their number. Bits may still differ between processors and versions of BLAS:
    set ``OPENBLAS_CORETYPE`` to the same value on all machines to compare bits between them.
    The limit is the process's: products of other threads are slower while it holds.

    Examples
    --------
    >>> from threadpoolctl import threadpool_info
    >>> with one_thread():
    ...     {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    {1}
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _controller() -> Any:
    """Return what governs the libraries that are loaded: SciPy's BLAS, which Numba calls."""
    import scipy.linalg.cython_blas  # noqa: F401  loads the library, which must be there to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
