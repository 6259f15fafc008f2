"""A run's directory while it is trained in: one process at a time, and its history."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ooc.core.errors import InputError
from ooc.runs.checkpoint import write_whole

LOCK = "lock"
HISTORY = "history.jsonl"


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep other processes from training in this directory; the kernel frees it after any end.

    A directory that is still empty at the end is removed.
    """
    made = [path for path in (run_dir, *run_dir.parents) if not path.exists()]
    run_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(run_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise InputError(
                f"{run_dir} is being trained in by process {owner}; wait for it, stop it, or "
                "choose another directory"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            if run_dir.exists() and not any(path.name != LOCK for path in run_dir.iterdir()):
                (run_dir / LOCK).unlink()
    finally:
        os.close(descriptor)
        for path in made:
            with suppress(OSError):
                path.rmdir()


def append_history(run_dir: Path, line: Mapping[str, Any]) -> None:
    """Append a JSON line to the history, and flush it."""
    with (run_dir / HISTORY).open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def read_history(run_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a history; a last one that a kill cut short is left out."""
    try:
        stream = (run_dir / HISTORY).open()
    except FileNotFoundError:
        return
    with stream:
        for line in stream:
            with suppress(json.JSONDecodeError):
                yield json.loads(line)


def cut_history(run_dir: Path, step: int) -> None:
    """Drop what was noted after a step, from which a run goes on."""
    kept = [line for line in read_history(run_dir) if line.get("step", 0) <= step]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    write_whole(run_dir / HISTORY, text.encode())
