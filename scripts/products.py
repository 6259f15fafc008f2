"""The matrix products of a network's step, and nothing else: what no step can be faster than."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from ooc.core.compiler import exact_kernel

# Of a step's rows, as `ooc` cuts them for its threads.
SHARES = 2

Arrays = tuple[np.ndarray, ...]


@exact_kernel
def compiled_products(x: np.ndarray, weights: Arrays, hidden: Arrays, steps: int) -> None:
    """Multiply forward and backward through three layers, by the BLAS that compiled code calls.

    Parameters
    ----------
    x
        (rows, inputs).
    weights
        Three, (units, inputs), then as many for what their gradients are.
    hidden
        Outputs of the three layers, (rows, units), then what the first two have of the loss.
    """
    w1, w2, w3, g1, g2, g3 = weights
    h1, h2, h3, d1, d2 = hidden
    for _ in range(steps):
        np.dot(x, w1.T, out=h1)
        np.dot(h1, w2.T, out=h2)
        np.dot(h2, w3.T, out=h3)
        np.dot(h3.T, h2, out=g3)
        np.dot(h3, w3, out=d2)
        np.dot(d2.T, h1, out=g2)
        np.dot(d2, w2, out=d1)
        np.dot(d1.T, x, out=g1)


def plain_products(x: np.ndarray, weights: Arrays, hidden: Arrays, steps: int) -> None:
    """Do the same by NumPy, whose BLAS is another one."""
    compiled_products.py_func(x, weights, hidden, steps)  # type: ignore[attr-defined]


def seconds_of_products(widths: tuple[int, ...], batch_size: int, steps: int) -> dict[str, float]:
    """Return the seconds of a step's products alone, by the BLAS of compiled code and by NumPy's.

    Each is the faster one of a whole batch at once and of shares in threads of their own, which
    wait for each other at no step.
    """
    found = {}
    for name, multiply in (("compiled", compiled_products), ("NumPy's", plain_products)):
        whole = _seconds(multiply, widths, batch_size, steps, 1)
        found[name] = min(whole, _seconds(multiply, widths, batch_size, steps, SHARES))
    return found


def _seconds(
    multiply: Callable[..., None],
    widths: tuple[int, ...],
    batch_size: int,
    steps: int,
    shares: int,
) -> float:
    """Return the seconds of a step in so many shares; one share has as many threads of BLAS."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))

    rows = batch_size // shares
    work = []
    for _ in range(shares):
        layers = list(zip(widths[1:], widths, strict=False))
        weights = tuple(drawn(*shape) for shape in (*layers, *layers))
        hidden = tuple(drawn(rows, units) for units in (*widths[1:], *widths[1:-1]))
        work.append((drawn(rows, widths[0]), weights, hidden))
    threads = SHARES // shares
    with threadpool_limits(threads, user_api="blas"), ThreadPoolExecutor(shares) as pool:
        for count in (2, steps):  # the first time it is compiled
            begun = time.perf_counter()
            list(pool.map(lambda each, count=count: multiply(*each, count), work))
    return (time.perf_counter() - begun) / steps
