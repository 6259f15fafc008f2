"""Files that are kept open for reading: a bounded number, of all readers of this process."""

import errno
import itertools
import os
import resource
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# More are of no use: opening one takes some microseconds, beside a request of hundreds.
MOST_OPEN_FILES = 1024
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)


# Of all files that are open here, and of those that requests in flight hold.
_DESCRIPTORS: set[int] = set()
_HELD: set[int] = set()


class OpenFile:
    """A descriptor that is closed when its last user has gone."""

    def __init__(self, path: str, flags: int) -> None:
        self.descriptor = os.open(path, flags)
        self.users = 0
        _DESCRIPTORS.add(self.descriptor)

    # When the interpreter ends, a module's names are gone before the last of its files.
    def __del__(self, forget: Any = _DESCRIPTORS.discard, close: Any = os.close) -> None:
        if hasattr(self, "descriptor"):
            forget(self.descriptor)
            close(self.descriptor)


_Key = tuple[int, str]
# Those that are kept, by reader and path, least recently used first.
_KEPT: OrderedDict[_Key, OpenFile] = OrderedDict()
_LOCK = threading.RLock()
# A thread that held it does not come along into a child.
os.register_at_fork(after_in_child=_LOCK._at_fork_reinit)  # type: ignore[attr-defined]
_NUMBERS = itertools.count()
# Readers that have gone, and of which files may be kept still.
_GONE: deque[int] = deque()
# Files that this process had open for other ends when there were too many.
_OF_OTHERS = [0]


def most_open_files() -> int:
    """Return how many files may be open here: half of what this process may have open.

    The other half is for whatever else it does; where that took more, half of what it left.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit < 0:
        return MOST_OPEN_FILES
    others = _OF_OTHERS[0] if _OF_OTHERS[0] > limit // 2 else 0
    return max(4, min(MOST_OPEN_FILES, (limit - others) // 2))


class OpenFiles:
    """The files of one reader, opened when they are asked for; they go with it."""

    def __init__(self, flags: int) -> None:
        self._flags, self._number = flags, next(_NUMBERS)
        weakref.finalize(self, _forget, self._number).atexit = False

    def get(self, path: str) -> OpenFile:
        """Return an open file; those that were not used for longest may be closed for it."""
        key = (self._number, path)
        with _locked():
            file = _KEPT.get(key)
            if file is not None:
                _KEPT.move_to_end(key)
                return file
            _make_room(most_open_files() - 1)
        try:
            file = OpenFile(path, self._flags)
        except OSError as error:
            if error.errno not in _OUT_OF_FILES:
                raise
            # Whatever else this process does has taken its half and more.
            with _locked():
                _OF_OTHERS[0] = max(0, _open_now() - len(_DESCRIPTORS))
                _make_room(0)
            file = OpenFile(path, self._flags)
        with _locked():
            _KEPT[key] = file
        return file

    def hold(self, paths: Sequence[str]) -> list[OpenFile]:
        """Return open files for requests in flight, to be released: all but those at the end.

        Those begin where too many are held, or with one that cannot be opened.
        """
        files: list[OpenFile] = []
        with _locked():
            for path in paths:
                if (file := _KEPT.get((self._number, path))) is None:
                    break
                _KEPT.move_to_end((self._number, path))
                files.append(file)
        with suppress(OSError):
            for path in paths[len(files) :]:
                files.append(self.get(path))
        most = most_open_files() // 2
        with _locked():
            for place, file in enumerate(files):
                if not file.users and len(_HELD) >= most:
                    return files[:place]
                _HELD.add(file.descriptor)
                file.users += 1
        return files


def release(files: Sequence[OpenFile]) -> None:
    """Give back what `OpenFiles.hold` returned."""
    with _locked():
        for file in files:
            file.users -= 1
            if not file.users:
                _HELD.discard(file.descriptor)


def _open_now() -> int:
    """Return how many files this process has open; 0 where the system does not tell."""
    try:
        # The files that it has open, counted without opening one more.
        return Path("/proc/self/fd").stat().st_size
    except OSError:
        return 0


def _make_room(most: int) -> None:
    """Close kept files until no more than so many are open; held ones close as they land."""
    while len(_DESCRIPTORS) > most and _KEPT:
        _KEPT.popitem(last=False)


def _forget(number: int) -> None:
    """Have the files of a reader closed.

    The garbage collector calls it, in whichever thread and under whichever lock: nothing is waited
    for. Whoever holds the lock now does it in the end.
    """
    _GONE.append(number)
    _close_gone()


@contextmanager
def _locked() -> Iterator[None]:
    with _LOCK:
        yield
    _close_gone()


def _close_gone() -> None:
    """Close the files of readers that have gone, unless somebody holds the lock, who will do so."""
    while _GONE and _LOCK.acquire(blocking=False):
        try:
            gone = set[int]()
            # Collecting garbage on the way may forget another reader.
            with suppress(IndexError):
                while True:
                    gone.add(_GONE.popleft())
            for key in list(_KEPT):
                if key[0] in gone:
                    _KEPT.pop(key, None)
        finally:
            _LOCK.release()
