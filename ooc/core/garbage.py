"""When Python looks for garbage: not while modules and kernels come in, for these stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage in this block; afterwards as before.

    Modules are hundreds of thousands of objects, and none of them garbage: to look at all of them
    again and again takes a fifth of a program's start.

    Examples
    --------
    >>> with uncollected():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
