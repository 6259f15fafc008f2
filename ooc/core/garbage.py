"""When Python looks for garbage, and among what: not among modules and kernels, for these stay."""

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


@contextmanager
def set_aside() -> Iterator[None]:
    """Look for garbage in this block among what it makes, and not among what was there before.

    For work that makes and drops many small objects, beside hundreds of thousands that stay.

    Examples
    --------
    >>> before = gc.get_freeze_count()
    >>> with set_aside():
    ...     gc.get_freeze_count() > 0
    True
    >>> gc.get_freeze_count() == before
    True
    """
    # Somebody else's would come back with ours.
    is_first = gc.get_freeze_count() == 0
    if is_first:
        gc.freeze()
    try:
        yield
    finally:
        if is_first:
            gc.unfreeze()
