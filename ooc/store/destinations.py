"""Where a dataset grows until it is whole: the one place that knows of a disk, or of a server."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ooc.core.destination import (
    claimed,
    clear_leftovers,
    hidden_beside,
    local_path,
    name_whole,
)
from ooc.core.errors import InputError
from ooc.store.members import settle
from ooc.store.place import Place


class UnfinishedError(InputError):
    """A server that fails a writer: what is written stays, and may be gone on with."""


class Destination(Protocol):
    """A dataset that is not there yet.

    Files of it grow in a hidden folder of this machine, by the names that they will have in the
    store. What is whole is kept, and that may be elsewhere; in the end the store is whole at once.
    """

    @property
    def shown(self) -> str:
        """What it is called."""

    @property
    def beside(self) -> Path:
        """The path beside which hidden folders lie, see `ooc.core.destination.hidden_beside`."""

    @property
    def partial(self) -> Path:
        """The folder in which files grow."""

    @property
    def is_local(self) -> bool:
        """Whether what is kept takes room on the disk of `beside`."""

    @property
    def buffer_bytes(self) -> int:
        """Most memory that keeping files takes."""

    def check_new(self) -> None:
        """Refuse what is there already, but for what this very writer left half-written."""

    def claim(self) -> AbstractContextManager[None]:
        """Keep it for this writer alone; refuse what is there, and where nothing can be written."""

    def begin(self, resume: bool) -> None:
        """Make the folder in which files grow; what an earlier writer left goes, or stays."""

    def keep(self, files: Iterable[Path]) -> None:
        """Take over files of the folder, which are whole; threads may do so at the same time."""

    def holds(self, file: Path) -> bool:
        """Tell whether a file of the folder is whole, here or where it was kept."""

    def place(self) -> Place:
        """Return where what is written so far can be opened, once it has metadata."""

    def discard(self) -> None:
        """Remove all that is written."""

    def finish(self) -> None:
        """Give the dataset its name: from now on it is there, and all of it."""


@dataclass(frozen=True)
class LocalDestination:
    """A folder: what is kept stays where it grew, and that is renamed."""

    path: Path
    is_local = True
    buffer_bytes = 0

    @property
    def shown(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def beside(self) -> Path:
        """Its path."""
        return self.path

    @property
    def partial(self) -> Path:
        """A hidden folder beside it."""
        return hidden_beside(self.path, "partial")

    def check_new(self) -> None:
        """Refuse what is there already."""
        check_new(self.path)

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Take the lock of the path."""
        with claimed(self.path):
            # It may have come while the path was not claimed yet.
            self.check_new()
            yield

    def begin(self, resume: bool) -> None:
        """Make the hidden folder."""
        if not resume:
            shutil.rmtree(self.partial, ignore_errors=True)
        make_folder(self.partial, resume)

    def keep(self, files: Iterable[Path]) -> None:
        """Leave them where they are."""

    def holds(self, file: Path) -> bool:
        """Tell whether it is there."""
        return file.exists()

    def place(self) -> Place:
        """Return the hidden folder."""
        return Place(str(self.partial))

    def discard(self) -> None:
        """Remove the hidden folder."""
        with suppress(Exception):  # a signal may have met what waits for its own loop
            settle()
        shutil.rmtree(self.partial, ignore_errors=True)

    def finish(self) -> None:
        """Rename the hidden folder, once all that is in it is on the disk."""
        name_whole(self.partial, self.path)


def check_new(path: str | Path) -> Path:
    """Return where a dataset is to be written on this machine; refuse what is there already."""
    place = local_path(path, "datasets that are written")
    if place.exists():
        clear_leftovers(place)
        raise InputError(f"{place} already exists; choose another path or remove it first")
    return place


def make_folder(folder: Path, exist_ok: bool = True) -> None:
    """Make a folder; refuse where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=exist_ok)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder.parent}: {error.strerror}; choose another folder"
        ) from None
