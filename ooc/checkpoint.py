"""Atomic saves of a run: arrays without code, a checksum, written aside, synced and renamed."""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ooc.errors import InputError

ARRAYS = "checkpoint.npz"
DESCRIPTION = "run.json"


def parameters_sha256(parameters: np.ndarray) -> str:
    """Return the hash of the flat parameter vector's bytes."""
    return hashlib.sha256(np.ascontiguousarray(parameters).tobytes()).hexdigest()


def check_run_dir(run_dir: Path) -> None:
    """Check, before any work, that a run can be saved here; nothing is made yet.

    Raises
    ------
    InputError
        If the directory already holds a run or cannot be written to.
    """
    if (run_dir / DESCRIPTION).exists() or (run_dir / ARRAYS).exists():
        raise InputError(f"{run_dir} already holds a run; choose another directory or remove it")
    folder = next(path for path in (run_dir, *run_dir.absolute().parents) if path.exists())
    if not folder.is_dir():
        raise InputError(f"cannot write to {run_dir}: {folder} is a file; choose another directory")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {folder}: no permission; choose another directory")


def save(
    run_dir: Path,
    parameters: np.ndarray,
    state: np.ndarray,
    description: Mapping[str, Any],
) -> None:
    """Save arrays and description; each file is either the old or the new one, never a half.

    The description names the parameters' hash, so that the two files are known to belong
    together.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    np.savez(packed, parameters=parameters, optimizer_state=state)
    _replace(run_dir / ARRAYS, packed.getvalue())
    whole = {**description, "parameters_sha256": parameters_sha256(parameters)}
    _replace(run_dir / DESCRIPTION, (json.dumps(whole, indent=1) + "\n").encode())


def load(run_dir: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return parameters, optimizer state and description of a saved run.

    Raises
    ------
    InputError
        If there is no run, or its parameters are not those that were saved.
    """
    try:
        description = json.loads((run_dir / DESCRIPTION).read_text())
        with np.load(run_dir / ARRAYS, allow_pickle=False) as arrays:
            parameters, state = arrays["parameters"], arrays["optimizer_state"]
    except FileNotFoundError as error:
        raise InputError(
            f"{run_dir} holds no finished run: {Path(error.filename).name} is missing; "
            "give the directory that `ooc train --run` wrote"
        ) from None
    except Exception as error:  # a damaged zip or JSON file raises errors of many kinds
        raise InputError(f"the run in {run_dir} is damaged: {error}; train it again") from None
    found, noted = parameters_sha256(parameters), description.get("parameters_sha256")
    if found != noted:
        raise InputError(
            f"the parameters in {run_dir / ARRAYS} have hash {found[:12]}, but {DESCRIPTION} notes "
            f"{str(noted)[:12]}; the run is damaged, train it again"
        )
    return parameters, state, description


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_name(path.name + ".partial")
    with aside.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
