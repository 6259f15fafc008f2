"""What holds most of a process's memory: a line of code, or a mapping that no line asked for."""

import re
import sys
import sysconfig
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from ooc.core.process import resident_bytes
from ooc.core.sizes import format_size

FRAMES = 24
POLL_SECONDS = 0.002
# The kernel tells of mappings a page at a time, and each time the thread that looks waits its turn.
SWITCH_SECONDS = 1e-4
# A look takes a while: the next one comes when so much more is traced.
GROWTH, LEAST_BYTES = 1.2, 2**20
# A mapping larger than what a line holds by so much is not that line's.
FAR_LARGER = 1.2
# A mapping's name, and its resident memory in KiB.
_MAPPING = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)\n(?:(?!Rss:)[A-Z].*\n)*Rss: +(\d+)", re.M
)
_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))


class Watch:
    """Traces allocations, and looks what holds most where memory is at its largest so far.

    Parameters
    ----------
    bound
        Bytes of the process.
    beyond
        Called, from another thread, with what holds most once there is more.
    """

    def __init__(self, bound: int, beyond: Callable[[str], None]) -> None:
        self._bound, self._beyond = bound, beyond
        self._interval = sys.getswitchinterval()
        self._ended, self._holder = threading.Event(), ""
        self._most = self._most_resident = self._looks = 0

    def begin(self) -> None:
        """Trace from now on."""
        tracemalloc.start(FRAMES)
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        self._most_resident, self._holder = resident_bytes(), largest_holder()
        # A call that keeps other threads waiting may take memory that is gone when it returns.
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        threading.Thread(target=self._poll, daemon=True).start()

    def end(self) -> str:
        """Return what held most at the largest that was seen."""
        self._ended.set()
        sys.setprofile(None)
        threading.setprofile(None)
        self._look()
        tracemalloc.stop()
        sys.setswitchinterval(self._interval)
        return self._holder

    def _poll(self) -> None:
        sys.setprofile(None)  # which would make each of its own calls slow
        while not self._ended.wait(POLL_SECONDS):
            # What tracing takes is no part of it.
            resident = resident_bytes() - tracemalloc.get_tracemalloc_memory()
            if resident > self._bound:
                self._beyond(largest_holder())
            if resident > GROWTH * self._most_resident:
                self._most_resident = resident
                self._keep()
            self._look()

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        if event in ("return", "c_return"):
            self._look()

    def _look(self) -> None:
        traced = tracemalloc.get_traced_memory()[0]
        if traced > GROWTH * self._most + LEAST_BYTES:
            self._most = traced
            self._keep()

    def _keep(self) -> None:
        """Keep what holds most now, unless another thread has begun to look since."""
        self._looks += 1
        number, holder = self._looks, largest_holder()
        if number == self._looks:
            self._holder = holder


def largest_holder() -> str:
    """Say which line holds most of what is traced, or which mapping far more, and how much it is.

    Of a line in a library it is the line outside of libraries that called it, if there is one.
    """
    mapping, size = largest_mapping()
    if size > FAR_LARGER * tracemalloc.get_traced_memory()[0]:
        # It is far more than any line holds, and lines take longer to look at than a short test.
        return f"{mapping}, {format_size(size)}"
    held = _held_by_line()
    place = max(held, key=held.__getitem__, default="")
    if size > FAR_LARGER * held.get(place, 0):
        return f"{mapping}, {format_size(size)}"
    return f"{place}, {format_size(held[place])}"


def _held_by_line() -> dict[str, int]:
    """Return the bytes that are traced, by the lines outside of libraries that hold them."""
    held: dict[str, int] = {}
    for each in tracemalloc.take_snapshot().statistics("traceback"):
        frames = [frame for frame in each.traceback if not frame.filename.startswith("<")]
        own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
        last = (own or frames or list(each.traceback))[-1]
        place = f"{last.filename}:{last.lineno}"
        held[place] = held.get(place, 0) + each.size
    return held


def largest_mapping(smaps: Path = Path("/proc/self/smaps")) -> tuple[str, int]:
    """Return the name of the mapping with most resident memory, and its bytes."""
    # Few objects: each is traced, where this is called.
    found = [(int(size), name) for name, size in _MAPPING.findall(smaps.read_bytes())]
    size, name = max(found, key=lambda each: each[0], default=(0, b""))
    if not size:
        return "", 0
    # Shared memory without a file has the name of a file that is gone.
    is_plain = name in (b"", b"/dev/zero (deleted)")
    text = "memory that is mapped without a file" if is_plain else name.decode(errors="replace")
    return text, size * 1024
