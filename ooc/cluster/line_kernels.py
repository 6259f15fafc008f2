"""Frames over a line in compiled code: received, told apart, and taken out of its buffer."""

import ctypes
import sys
from functools import cache

import numpy as np
from numba import types

from ooc.cluster import step_frames as frames
from ooc.cluster.line import BUFFER, DESCRIPTOR, HAVE, ROOM
from ooc.core.compiler import array_at, by_address, lean_kernel, small_kernel

# Places of `calls`: addresses of poll(2), recv(2), send(2) and clock_gettime(2), and of memory for
# what they write: eight bytes for each line, sixteen at least.
POLL, RECEIVE, SEND, CLOCK, PLACE = range(5)
# Frames, see `ooc.cluster.step_frames`: bytes of a length, of the heads of a question and an
# answer, and of a share in a question.
PREFIX, QUESTION, SHARE = 8, frames.QUESTION.size, frames.INT * frames.SHARE_NUMBERS
ANSWER = frames.ANSWER.size
STEP_BIT = np.int64(-(2**63))
# Milliseconds after which one that waits looks around.
LOOK = 500
# Events of poll(2), and a flag of send(2), of Linux.
CAN_READ, CAN_WRITE = 1, 4
NO_SIGNAL = 0x4000

_long, _int = types.int64, types.int32
call_poll = by_address(lambda _: _int(_long, _long, _int))
call_transfer = by_address(lambda _: _long(_int, _long, _long, _int))
call_clock = by_address(lambda _: _int(_int, _long))


@cache
def c_functions() -> tuple[int, ...] | None:
    """Return the addresses of what the kernels call; None where the system has not all of them."""
    if sys.platform != "linux" or sys.byteorder != "little" or sys.maxsize < 2**32:
        return None
    libc = ctypes.CDLL(None)
    try:
        found = [libc[name] for name in ("poll", "recv", "send", "clock_gettime")]
    except AttributeError:
        return None
    return tuple(ctypes.cast(each, ctypes.c_void_p).value or 0 for each in found)


class Calls:
    """Addresses of functions, and memory for what they write, for so many lines."""

    def __init__(self, lines: int) -> None:
        self._place = np.zeros(max(2, lines), np.int64)
        self.numbers = np.array([*(c_functions() or ()), self._place.ctypes.data], np.int64)


@small_kernel
def copy_bytes(source, target, size):  # type: ignore[no-untyped-def]
    """Copy bytes from an address to another one."""
    given = array_at(source, (size,), np.uint8(0))
    taken = array_at(target, (size,), np.uint8(0))
    for i in range(size):
        taken[i] = given[i]


@small_kernel
def fill_up(size):  # type: ignore[no-untyped-def]
    """Return a number of bytes, filled up to eight."""
    return (size + 7) // 8 * 8


@lean_kernel
def step_bytes(line):  # type: ignore[no-untyped-def]
    """Return the bytes of the step's frame that a buffer begins with: 0 unless all are there.

    -1 where it begins with another message, or one that it has no room for.
    """
    if line[HAVE] < PREFIX:
        return np.int64(0)
    length = array_at(line[BUFFER], (1,), np.int64(0))[0]
    if length >= 0:
        return np.int64(-1)
    whole = PREFIX + (length ^ STEP_BIT)
    if whole > line[ROOM]:
        return np.int64(-1)
    return whole if line[HAVE] >= whole else np.int64(0)


@lean_kernel
def drop(line, whole):  # type: ignore[no-untyped-def]
    """Take the first bytes out of a buffer."""
    line[HAVE] -= whole
    if line[HAVE] > 0:
        copy_bytes(line[BUFFER] + whole, line[BUFFER], line[HAVE])


@lean_kernel
def receive(calls, line):  # type: ignore[no-untyped-def]
    """Receive what there is, once; return its bytes: 0 where the line is gone, or less for none."""
    count = call_transfer(
        calls[RECEIVE],
        (line[DESCRIPTOR], line[BUFFER] + line[HAVE], line[ROOM] - line[HAVE], np.int64(0)),
    )
    if count > 0:
        line[HAVE] += count
    return count


@small_kernel
def share_bytes(w):  # type: ignore[no-untyped-def]
    """Return the bytes of a share in an answer, by a record of work."""
    gradients = fill_up(w.models * w.gradient_size * w.item)
    return 8 * w.models * w.terms + 8 * (1 + w.models) + gradients
