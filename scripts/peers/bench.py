"""Runs a peer in a process of its own on a store, cold or warm, and reads its result."""

import functools
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.catalogue import OOC, Peer
from peers.environments import Environment, UnavailableError, run_checked
from peers.store import arrays_of

from ooc.core.errors import InputError

DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True)
class Bench:
    """The store and the settings that every peer is run with.

    Attributes
    ----------
    folder
        Where peers keep what they make of the store for themselves.
    store
        What is trained on.
    batch_size
        Rows of a step, for those that take batches.
    memory
        What ooc may use.
    timeout
        Seconds for one run.
    verbose
        Whether each run's seconds are printed.
    marked_rows
        The first rows, for caches of these alone, with marks at which a peer saves its model, see
        `vowpal_wabbit.py`; None for caches of all rows without marks.
    """

    folder: Path
    store: Path
    batch_size: int
    memory: str
    timeout: float
    verbose: bool
    marked_rows: int | None = None

    @property
    def decoded_bytes(self) -> int:
        """Bytes of one epoch, decoded: features and targets."""
        return sum(array.nbytes for array in arrays_of(self.store))

    @property
    def rows(self) -> int:
        """Rows of the store."""
        return arrays_of(self.store)[0].shape[0]

    def settings(self, peer: Peer) -> tuple[str, ...]:
        """Return what a peer is told besides its variant."""
        if peer is OOC:
            return (f"memory={self.memory}",)
        return (f"cache={self.cache(peer).resolve()}",) if peer.cached else ()

    def cache(self, peer: Peer) -> Path:
        """Return the file that a peer makes of the store for itself."""
        kind = "" if self.marked_rows is None else f"-marked-{self.marked_rows}"
        return self.folder / f"{self.store.stem}-{peer.module}{kind}.cache"

    def build_cache(self, peer: Peer) -> None:
        """Let a peer build its cache, unless it is there."""
        if peer.cached and not self.cache(peer).exists():
            print(f"building {self.cache(peer)}", file=sys.stderr)
            marks = ("snapshots=yes", f"limit={self.marked_rows}")
            chosen = () if self.marked_rows is None else marks
            self.run(peer, ("build=yes", *chosen), self.marked_rows)

    def run(
        self, peer: Peer, settings: Sequence[str] = (), rows: int | None = None
    ) -> dict[str, Any]:
        """Run a peer once and return its result.

        Parameters
        ----------
        peer, settings
            Who, and what it is told.
        rows
            How many rows it has to use; by default every row once.

        Raises
        ------
        UnavailableError
            If it fails, takes too long, or has used another number of rows.
        """
        python = interpreter(peer.environment) if peer.environment else sys.executable
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "result.json")
            command = [str(python), "-m", f"peers.{peer.module}", str(self.store.resolve())]
            command += [str(self.batch_size), str(output), *self.settings(peer), *settings]
            run_checked(command, self.timeout)
            result: dict[str, Any] = json.loads(output.read_text())
        # Where rows are limited, Vowpal Wabbit counts marks among them, and ends a little early.
        wanted, short = (self.rows, 0) if rows is None else (rows, rows // 1000)
        if not wanted - short <= result["rows"] <= wanted:
            raise UnavailableError(f"used {result['rows']} rows, not {wanted}")
        return result

    def run_cold(
        self, peer: Peer, settings: Sequence[str] = (), rows: int | None = None
    ) -> dict[str, Any]:
        """Do as `run` after dropping what the system has cached of the peer's files."""
        drop_page_cache([self.store, *([self.cache(peer)] if peer.cached else [])])
        result = self.run(peer, settings, rows)
        if self.verbose:
            told = " ".join([peer.name, *settings])
            print(f"{told}: {result['seconds']:.2f} s", file=sys.stderr)
        return result


@functools.cache
def interpreter(environment: Environment) -> Path:
    """Return an environment's Python; it is looked at once, so that nothing changes midway."""
    return environment.install()


def drop_page_cache(paths: Sequence[Path]) -> bool:
    """Ask the system to forget the files under these paths; tell whether all caches went."""
    forget_files(paths)
    try:
        DROP_CACHES.write_text("3\n")
    except OSError:
        return False
    return True


def forget_files(paths: Sequence[Path]) -> None:
    """Ask the system to forget what is in the files under these paths, and nothing else."""
    os.sync()
    for path in paths:
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file():
                descriptor = os.open(file, os.O_RDONLY)
                try:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)


def ignored_folder(folder: Path) -> Path:
    """Make a folder that git does not look at, unless it is there.

    Raises
    ------
    InputError
        If it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from None
    return folder


def made_store(path: Path, *arguments: str) -> Path:
    """Make a logistic dataset, unless it is there."""
    if not path.exists():
        print(f"making {path}", file=sys.stderr)
        run_checked([sys.executable, "-m", "ooc", "make", "logistic", str(path), *arguments])
    return path
