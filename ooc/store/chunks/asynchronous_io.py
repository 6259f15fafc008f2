"""Linux's asynchronous direct I/O: a batch of requests in flight, from one call of one thread.

A blocking read costs two switches of context and a wait for the interpreter's lock; a batch of
them one io_submit(2) and one io_getevents(2). What goes wrong is said: it is read in the plain way.
"""

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ooc.core.memory import own_memory

# Requests of one batch.
DEPTH = 128

# Numbers of io_setup, io_destroy, io_submit and io_getevents, see syscalls(2).
_CALLS = {"x86_64": (206, 207, 209, 208), "aarch64": (0, 1, 2, 4), "riscv64": (0, 1, 2, 4)}
_SETUP, _DESTROY, _SUBMIT, _GET_EVENTS = range(4)
# struct iocb and struct io_event of linux/aio_abi.h on little-endian machines.
_CONTROL_BLOCK = np.dtype(
    {
        "names": ["number", "descriptor", "address", "length", "offset"],
        "formats": ["<u8", "<u4", "<u8", "<u8", "<i8"],
        "offsets": [0, 20, 24, 32, 40],
        "itemsize": 64,
    }
)
_EVENT = np.dtype([("number", "<u8"), ("block", "<u8"), ("result", "<i8"), ("more", "<i8")])


class Placed(NamedTuple):
    """A range of an open file, and where in a batch's memory it goes; all aligned."""

    descriptor: int
    offset: int
    length: int
    place: int


# Contexts of which nothing is in flight, for whoever needs one next: io_destroy(2) takes tens of
# milliseconds, and threads that read come and go.
_IDLE: list[ctypes.c_ulong] = []
# They are a process's own.
os.register_at_fork(after_in_child=_IDLE.clear)


def _context() -> ctypes.c_ulong:
    with suppress(IndexError):
        return _IDLE.pop()
    context = ctypes.c_ulong(0)
    if _call(_SETUP, DEPTH, ctypes.byref(context)) != 0:
        raise OSError(ctypes.get_errno(), "io_setup was refused")
    return context


class Batch:
    """Memory of fixed size, whole pages, and the requests in flight into it.

    An OSError says that the kernel has no asynchronous I/O for this process.

    Attributes
    ----------
    may_be_in_flight
        Whether requests may be: who has compiled code submit them says so before, and after.
    """

    def __init__(self, size: int) -> None:
        self._context, self._process = _context(), os.getpid()
        self._pending, self.may_be_in_flight = 0, False
        # The system pins each page of it for each request: of large ones there are few.
        self.memory = own_memory((size,), np.dtype(np.uint8), large_pages=True).data
        self._address = np.frombuffer(self.memory, np.uint8).ctypes.data
        self._blocks = np.zeros(DEPTH, _CONTROL_BLOCK)
        self._blocks["number"] = np.arange(DEPTH)
        first = self._blocks.ctypes.data
        self._pointers = first + _CONTROL_BLOCK.itemsize * np.arange(DEPTH, dtype=np.uint64)
        self._events = np.zeros(DEPTH, _EVENT)
        self._results = np.zeros(DEPTH, np.int64)

    def submit(self, requests: Sequence[Placed]) -> None:
        """Put requests in flight, `DEPTH` at most; those before must have been collected."""
        count, self.may_be_in_flight = len(requests), True
        self._results[:count] = -errno.EAGAIN
        blocks = self._blocks[:count]
        columns = np.array(requests, np.int64).reshape(-1, 4).T
        blocks["descriptor"], blocks["offset"], blocks["length"] = columns[:3]
        blocks["address"] = self._address + columns[3]
        while self._pending < count:
            pointers = ctypes.c_void_p(self._pointers.ctypes.data + 8 * self._pending)
            done = _call(_SUBMIT, self._context, count - self._pending, pointers)
            if done <= 0:
                break
            self._pending += done

    @property
    def numbers(self) -> tuple[int, ...]:
        """What compiled code needs to use it, as `ooc.store.chunks.reading_kernel` names it."""
        return (
            self._address, len(self.memory), self._context.value or 0, self._blocks.ctypes.data,
            self._pointers.ctypes.data, self._events.ctypes.data,
        )  # fmt: skip

    def collect(self) -> list[int]:
        """Wait for all requests; return for each the bytes that were read, or minus an errno."""
        while self._pending:
            events = ctypes.c_void_p(self._events.ctypes.data)
            done = _call(_GET_EVENTS, self._context, self._pending, self._pending, events, None)
            if done < 0 and ctypes.get_errno() != errno.EINTR:
                raise OSError(ctypes.get_errno(), "io_getevents failed")
            for event in self._events[: max(done, 0)]:
                self._results[event["number"]] = event["result"]
            self._pending -= max(done, 0)
        self.may_be_in_flight = False
        return self._results.tolist()

    # When the interpreter ends, a module's names are gone before the last of its batches.
    def __del__(self, idle: Any = _IDLE, process: Any = os.getpid) -> None:
        if not hasattr(self, "may_be_in_flight") or self._process != process():
            return
        if not self.may_be_in_flight:
            idle.append(self._context)
        elif _call is not None:
            # The kernel ends what is in flight before it returns; then the memory may go.
            _call(_DESTROY, self._context)


def call_numbers() -> tuple[int, int]:
    """Return the system's numbers of io_submit and io_getevents; zeros where it has none."""
    if _libc() is None:
        return 0, 0
    numbers = _CALLS[platform.machine()]
    return numbers[_SUBMIT], numbers[_GET_EVENTS]


@cache
def _libc() -> ctypes.CDLL | None:
    known = sys.platform == "linux" and sys.byteorder == "little" and sys.maxsize > 2**32
    return ctypes.CDLL(None, use_errno=True) if known and platform.machine() in _CALLS else None


def _call(number: int, *arguments: object) -> int:
    libc = _libc()
    if libc is None:
        ctypes.set_errno(errno.ENOSYS)
        return -1
    number = _CALLS[platform.machine()][number]
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *wide)
    return result
