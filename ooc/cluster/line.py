"""Frames of bytes over a connection of Dask's, read and written by the thread that needs them.

Dask makes the connection, with its own handshake and TLS, and sends the first message. From there
on its socket is taken off the event loop: a step's question and answer are a kibibyte or so, and to
wait for one where it is wanted takes a twentieth of the processor's time that the loop takes, on
either side. A frame is eight bytes, its length, and a message in msgpack: numbers, text, lists and
arrays as bytes; or, where the highest bit of its length is set, a step's question or answer. It
holds nothing that could be called.
"""

import math
import select
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np

from ooc.cluster.step_frames import StepFrame
from ooc.core.errors import InputError

# How often one that waits looks whether its connection was closed at this end.
LOOK_SECONDS = 0.5
# Bytes that are asked of the socket at once, at first: most messages are shorter.
FIRST_BYTES = 2**16
# Places of a line's numbers, which compiled code reads and changes: the socket's descriptor, where
# the buffer is, its bytes, and how many of them were received and are in no message yet.
DESCRIPTOR, BUFFER, ROOM, HAVE = range(4)
STEP_BIT = 2**63
_LENGTH = struct.Struct("<Q")


class GoneError(Exception):
    """The other end does not answer any more."""


def check_lines(addresses: Sequence[str]) -> None:
    """Refuse workers that no socket leads to.

    Raises
    ------
    InputError
        If one listens on another protocol than TCP or TLS.
    """
    for address in addresses:
        if address.partition("://")[0] not in ("tcp", "tls"):
            raise InputError(
                f"the worker at {address} has no socket, and lanes are served over tcp:// or "
                "tls://; start workers as processes, such as with LocalCluster(processes=True)"
            )


class Line:
    """One end of a connection, taken from Dask's event loop; called from one thread at a time.

    It is made on the event loop, in the turn in which the last message was sent or received
    there: nothing may have come since.
    """

    def __init__(self, comm: Any) -> None:
        stream = comm.stream
        stream.io_loop.remove_handler(stream.fileno())
        self._comm, self._socket = comm, stream.socket
        self._socket.settimeout(LOOK_SECONDS)
        self._numbers = np.zeros(4, np.int64)
        self._buffer: Any = None
        self._make_room(FIRST_BYTES)

    def send(self, message: Any) -> int:
        """Send a message; return its bytes.

        Raises
        ------
        GoneError
            If the other end is gone, or this one was closed.
        """
        is_step = isinstance(message, StepFrame)
        told = message if is_step else msgpack.packb(message)
        left = memoryview(_LENGTH.pack(len(told) | STEP_BIT * is_step) + told)
        try:
            while left:
                try:
                    left = left[self._socket.send(left) :]
                except TimeoutError:
                    self._check_open()
        except (OSError, ValueError):
            raise GoneError from None
        return len(told) + _LENGTH.size

    def receive(self, patience: float = math.inf) -> tuple[Any, int]:
        """Return the next message, and its bytes.

        Raises
        ------
        GoneError
            If the other end is gone, this one was closed, or nothing came for so many seconds.
        """
        until, wanted, length = time.monotonic() + patience, _LENGTH.size, 0
        while True:
            if self._numbers[HAVE] >= _LENGTH.size:
                length = _LENGTH.unpack_from(self._buffer)[0]
                wanted = _LENGTH.size + length % STEP_BIT
                if self._numbers[HAVE] >= wanted:
                    break
                if wanted > len(self._buffer):
                    self._make_room(wanted)
            try:
                count = self._socket.recv_into(memoryview(self._buffer)[self._numbers[HAVE] :])
            except TimeoutError:
                self._check_open()
                if time.monotonic() > until:
                    raise GoneError from None
                continue
            except (OSError, ValueError):
                raise GoneError from None
            if count == 0:
                raise GoneError
            self._numbers[HAVE] += count
        told = memoryview(self._buffer)[_LENGTH.size : wanted]
        message = StepFrame(told) if length >= STEP_BIT else msgpack.unpackb(told)
        # Of the next message something may have come with it.
        left = self._numbers[HAVE] - wanted
        self._buffer[:left] = self._buffer[wanted : wanted + left].copy()
        self._numbers[HAVE] = left
        return message, wanted

    @property
    def has_bytes(self) -> bool:
        """Whether something was received that is in no message yet."""
        return bool(self._numbers[HAVE])

    @property
    def numbers(self) -> np.ndarray:
        """What compiled code goes on with, see the names of the places: (4,) int64."""
        self._numbers[DESCRIPTOR] = self.fileno()
        return self._numbers

    @property
    def is_plain(self) -> bool:
        """Whether what is sent and received are the bytes of the socket itself."""
        return not isinstance(self._socket, ssl.SSLSocket)

    def close(self) -> None:
        """Hang up; whoever waits for a message, here or there, sees it. Any thread may call it."""
        with suppress(OSError, ValueError):  # where it is closed already
            # That of TLS would forget its session under who reads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def end(self) -> None:
        """Give the connection back to Dask, which closes it; called on the event loop."""
        self.close()
        self._comm.abort()

    def fileno(self) -> int:
        """Return the number of the socket, to wait for several at once; -1 where it is closed."""
        return int(self._socket.fileno())

    def _make_room(self, size: int) -> None:
        """Let the buffer hold a message of so many bytes; what was received stays."""
        buffer = np.empty(size, np.uint8)
        have = self._numbers[HAVE]
        if have:
            buffer[:have] = self._buffer[:have]
        self._buffer = buffer
        self._numbers[:] = self.fileno(), buffer.ctypes.data, size, have

    def _check_open(self) -> None:
        if self._comm.closed():
            raise GoneError


def with_messages(lines: Sequence[Line], seconds: float) -> list[Line]:
    """Return those that something came on, or that were closed; wait so long for the first."""
    found = [each for each in lines if each.has_bytes or each.fileno() < 0]
    numbers, waiting = {each.fileno(): each for each in lines if each not in found}, select.poll()
    for number in numbers:
        waiting.register(number, select.POLLIN)
    ready = waiting.poll(0 if found else 1000 * seconds)
    return found + [numbers[number] for number, _ in ready]
