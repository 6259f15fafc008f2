"""Atomic saves of a run: arrays without code, checksums, written aside, synced and renamed.

A checkpoint is one file, so that all of it belongs together; `run.json` is the newest one's
description, for people.
"""

import errno
import hashlib
import json
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.destination import local_path, write_whole
from ooc.core.errors import InputError
from ooc.core.plain_files import check_plain
from ooc.version import VERSION

FOLDER = "checkpoints"
DESCRIPTION = "run.json"
LOCK = "lock"
FORMAT = 2
_NAME = re.compile(r"step-(\d{12})\.npz")
_JSON = "description"
# A damaged table of contents asks for places before the file's beginning; the others are of a
# folder or a link in the file's place.
_DAMAGE = (None, errno.EIO, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENOENT)


class DamagedError(InputError):
    """A checkpoint is not what was saved."""


def sha256_of(values: np.ndarray) -> str:
    """Return the hash of an array's bytes, such as the flat parameter vector's."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def check_run_dir(run_dir: Path) -> None:
    """Refuse, before any work, a directory that holds a saved run or cannot be written to."""
    if steps(run_dir):
        raise InputError(
            f"{run_dir} already holds a run; go on with `ooc resume {run_dir}`, choose another "
            "directory or remove it"
        )
    if (run_dir / DESCRIPTION).exists():
        raise InputError(
            f"{run_dir} holds the {DESCRIPTION} of a run whose {FOLDER} are gone; choose another "
            "directory or remove it"
        )
    check_no_data(run_dir)
    folder = next(path for path in (run_dir, *run_dir.absolute().parents) if path.exists())
    if not folder.is_dir():
        raise InputError(f"cannot write to {run_dir}: {folder} is a file; choose another directory")
    if not os.access(folder, os.W_OK | os.X_OK):
        why = "no permission" if not os.statvfs(folder).f_flag & os.ST_RDONLY else "read-only disk"
        raise InputError(f"cannot write to {folder}: {why}; choose another directory")


def check_no_data(run_dir: Path) -> None:
    """Refuse a Zarr group in a run's place, or in that of the runs of a sweep."""
    if any((run_dir / name).exists() for name in ("zarr.json", ".zgroup", ".zarray")):
        raise InputError(f"{run_dir} holds data, a Zarr group; choose another directory")


def save(
    run_dir: Path,
    step: int,
    arrays: Mapping[str, np.ndarray],
    description: Mapping[str, Any],
    keep: int = 3,
) -> None:
    """Save arrays, each with its hash, and a description that is JSON-ready.

    Checkpoints are named and ordered by the steps taken; all but the newest `keep` are removed.
    Without room or permission there is an `InputError`, and what was saved before is still whole.
    """
    hashes = {name: sha256_of(values) for name, values in arrays.items()}
    whole = {**description, "format": FORMAT, "step": step, "sha256": hashes}
    text = json.dumps(whole, indent=1)
    encoded = np.frombuffer(text.encode(), np.uint8)
    members = {_JSON: encoded, f"{_JSON}_sha256": _digest(encoded), **arrays}
    try:
        (run_dir / FOLDER).mkdir(parents=True, exist_ok=True)
        write_whole(_file(run_dir, step), lambda file: np.savez(file, **members))  # type: ignore
        write_whole(run_dir / DESCRIPTION, (text + "\n").encode())
    except OSError as error:
        before = [number for number in steps(run_dir) if number != step]
        kept = f"the checkpoint of step {before[-1]} is whole" if before else "none was saved yet"
        raise InputError(
            f"cannot save step {step} in {run_dir}: {error.strerror or error}; {kept}: make room, "
            f"then go on with `ooc resume {run_dir}`"
        ) from error
    for old in steps(run_dir)[:-keep]:
        _file(run_dir, old).unlink(missing_ok=True)


def discard(run_dir: Path) -> None:
    """Remove what `save` and a history wrote: a run that came to nothing."""
    for step in steps(run_dir):
        _file(run_dir, step).unlink(missing_ok=True)
    remove_partial(run_dir)
    for name in (DESCRIPTION, "history.jsonl"):
        (run_dir / name).unlink(missing_ok=True)
    with suppress(OSError):
        (run_dir / FOLDER).rmdir()


def remove_partial(run_dir: Path) -> None:
    """Remove files that a killed process had not written to the end."""
    for folder in (run_dir, run_dir / FOLDER):
        for path in folder.glob("*.partial"):
            path.unlink(missing_ok=True)


def steps(run_dir: Path) -> list[int]:
    """Return the steps of the checkpoints that are there, ascending."""
    found = (_NAME.fullmatch(path.name) for path in (run_dir / FOLDER).glob("step-*.npz"))
    return sorted(int(match[1]) for match in found if match)


def check_saved(run_dir: Path) -> None:
    """Refuse a directory without a saved run: say whether it is one that has only begun."""
    local_path(run_dir, "runs", written=False)
    if steps(run_dir):
        return
    for folder in (run_dir, run_dir / FOLDER):
        if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
            raise InputError(f"cannot read {folder}: no permission; ask its owner for it")
    if not (run_dir / DESCRIPTION).exists() and any(
        (run_dir / each).exists() for each in (LOCK, FOLDER)
    ):
        raise InputError(
            f"{run_dir} holds a run of which nothing was saved yet, so that there is nothing to go "
            "on with; if it was killed, give the command that began it again"
        )
    raise InputError(
        f"{run_dir} holds no saved run: {FOLDER}/step-*.npz is missing; give the directory that "
        "`ooc train --run` wrote"
    )


def load(run_dir: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays and description of the newest checkpoint that is whole.

    A damaged one is left out with a warning; an `InputError` says that none is whole.
    """
    check_saved(run_dir)
    problems = []
    for step in reversed(steps(run_dir)):
        file = _file(run_dir, step)
        try:
            loaded = read(file)
        except DamagedError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            warnings.warn(f"{problem}; took that of step {step}", stacklevel=2)
        return loaded
    raise InputError(
        f"no checkpoint in {run_dir} is whole: {problems[0]}; remove the directory and "
        "train it again"
    )


def read(file: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays and description of one checkpoint; nothing of it is ever run as code."""
    try:
        _check_members(file)
        with np.load(file, allow_pickle=False) as members:
            arrays = {name: members[name] for name in members.files}
        encoded = arrays.pop(_JSON)
        noted = arrays.pop(f"{_JSON}_sha256")
        if not np.array_equal(noted, _digest(encoded)):
            raise ValueError("its description is not the one that was saved")
        description = json.loads(encoded.tobytes().decode())
        if description["format"] != FORMAT:
            wrote = description["versions"]["ooc"]
            raise InputError(
                f"{file} was saved by ooc {wrote} in format {description['format']}, and ooc "
                f"{VERSION} reads format {FORMAT}; use ooc {wrote}, or train it again"
            )
        for name, expected in description["sha256"].items():
            if sha256_of(arrays[name]) != expected:
                raise ValueError(f"its array {name} is not the one that was saved")
    except InputError:
        raise
    except OSError as error:
        if error.errno in _DAMAGE:
            raise DamagedError(f"the checkpoint {file} is damaged: {error}") from None
        raise InputError(f"cannot read the checkpoint {file}: {error.strerror}") from None
    except Exception as error:  # a damaged zip file raises errors of many kinds
        raise DamagedError(f"the checkpoint {file} is damaged: {error}") from None
    return arrays, description


@contextmanager
def understood(run_dir: Path) -> Iterator[None]:
    """Take what cannot be made sense of in a checkpoint, whole as it is, for what nobody saved.

    Raises
    ------
    InputError
        In place of the errors of a missing entry, another type or another shape.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        kind = type(error).__name__
        raise InputError(
            f"the checkpoint in {run_dir} holds what ooc does not save ({kind}: {error}); remove "
            "it to take the one before, or train the run again"
        ) from error


def _check_members(file: Path) -> None:
    """Refuse what would take more memory than the file has bytes: arrays are stored as they are."""
    check_plain(file)
    with zipfile.ZipFile(file) as packed:
        for member in packed.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > file.stat().st_size:
                raise ValueError(f"its member {member.filename} is packed, which ooc does not do")


def _file(run_dir: Path, step: int) -> Path:
    return run_dir / FOLDER / f"step-{step:012d}.npz"


def _digest(encoded: np.ndarray) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(encoded.tobytes()).digest(), np.uint8)
