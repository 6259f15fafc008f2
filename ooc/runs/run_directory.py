"""A run's directory while it is trained in: one process at a time, and its history."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ooc.core.destination import TakenError, blamed, remove_empty, take_lock, write_whole
from ooc.core.errors import InputError
from ooc.core.plain_files import check_plain
from ooc.runs.checkpoint import LOCK, check_no_data, check_run_dir, discard, remove_partial

HISTORY = "history.jsonl"
# A run of months notes less, and a longer line is none of ours.
MOST_BYTES = 2**32
MOST_LINE_BYTES = 2**20


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep other processes from training in this directory; the kernel frees it after any end.

    What a killed process had not written to the end is removed; in the end so is a directory that
    was made and is still empty.
    """
    made = [path for path in (run_dir, *run_dir.parents) if not path.exists()]
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        descriptor = take_lock(run_dir / LOCK)
    except TakenError as owner:
        raise InputError(
            f"{run_dir} is being trained in by process {owner}; wait for it, stop it, or choose "
            "another directory"
        ) from None
    except OSError as error:
        remove_empty(made)
        raise InputError(
            f"cannot write to {run_dir}: {error.strerror}; choose another directory"
        ) from None
    try:
        remove_partial(run_dir)
        yield
    finally:
        if run_dir.exists() and not any(path.name != LOCK for path in run_dir.iterdir()):
            (run_dir / LOCK).unlink()
        os.close(descriptor)
        remove_empty(made)


@contextmanager
def new_runs(run_dir: Path, folders: Sequence[Path]) -> Iterator[None]:
    """Keep a directory and those of new runs in it from others; what was only begun there goes."""
    check_no_data(run_dir)
    with ExitStack() as locks:
        for folder in dict.fromkeys([run_dir, *folders]):
            locks.enter_context(locked(folder))
        check_no_data(run_dir)
        for folder in folders:
            # Another process may have trained there until now.
            check_run_dir(folder)
            discard(folder)
        yield


def append_history(run_dir: Path, line: Mapping[str, Any]) -> None:
    """Append a JSON line to the history, and flush it."""
    with blamed(run_dir / HISTORY), (run_dir / HISTORY).open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def check_history(run_dir: Path) -> None:
    """Refuse what stands in the history's place if reading it would not end."""
    try:
        check_plain(run_dir / HISTORY, MOST_BYTES)
    except ValueError as error:
        raise InputError(f"{error}; remove it: a run goes on without its history") from None


def read_history(run_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a history; what a kill or a disk made of others is left out."""
    try:
        check_history(run_dir)
        stream = (run_dir / HISTORY).open("rb")
    except FileNotFoundError:
        return
    with stream:
        is_whole = True
        while line := stream.readline(MOST_LINE_BYTES):
            begins, is_whole = is_whole, line.endswith(b"\n")
            # Not JSON, not text, or nested too deeply.
            with suppress(ValueError, RecursionError):
                found = json.loads(line) if begins and is_whole and line.strip() else None
                if isinstance(found, dict) and isinstance(found.get("step", 0), int):
                    yield {"kind": "", **found}


def cut_history(run_dir: Path, step: int) -> None:
    """Drop what was noted after a step, from which a run goes on."""
    kept = [line for line in read_history(run_dir) if line.get("step", 0) <= step]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    write_whole(run_dir / HISTORY, text.encode())
