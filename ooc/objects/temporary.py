"""What is in no Zarr store yet is written to a temporary one, once, a few rows at a time."""

import atexit
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.garbage import set_aside
from ooc.core.process import reused_memory, share_heaps
from ooc.core.sizes import format_size
from ooc.core.terminal import say
from ooc.store.dataset import Dataset
from ooc.store.dataset import open as open_path
from ooc.store.fields import Field
from ooc.store.member import NUMERIC_KINDS
from ooc.store.writer import create

# Rows that are computed at once, unless a chunk of the source has more; larger pieces would be
# mapped anew each time, see `ooc.core.process.reused_memory`.
PIECE_BYTES = 12 * 2**20
NO_NAMES: Mapping[str, Sequence[str]] = MappingProxyType({})


def write_once(
    arrays: Mapping[str, Any],
    kind: type,
    roles: Mapping[str, Any],
    names: Mapping[str, Sequence[str]] = NO_NAMES,
) -> Dataset:
    """Write arrays of the same rows to a temporary store, which goes with the process.

    Parameters
    ----------
    arrays
        By name: anything with a shape and a dtype of which rows can be taken by a slice.
    kind
        Of what they are; it is told.
    roles
        What `ooc.store.dataset.open` takes.
    names
        What the columns of arrays are called, by array.
    """
    (rows,) = {values.shape[0] for values in arrays.values()}
    fields = {}
    for name, values in arrays.items():
        dtype = np.dtype(values.dtype)
        if dtype.kind not in NUMERIC_KINDS:
            raise InputError(
                f"{name} has dtype {dtype}, which is not a real number; convert it to an integer "
                "or float dtype"
            )
        noted = {"feature_names": list(names[name])} if name in names else {}
        fields[name] = Field(dtype.name, tuple(values.shape[1:]), noted)
    row_bytes = sum(field.row_bytes for field in fields.values())
    path = new_folder() / "data.zarr"
    told(kind, rows * row_bytes, path)
    step = _step(arrays, max(1, PIECE_BYTES // max(1, row_bytes)))
    # What computes has threads of its own, whose heaps would count as held by the run to come.
    share_heaps()
    # One piece is encoded while the next one is computed.
    with (
        reused_memory(),
        set_aside(),
        create(path, fields) as writer,
        ThreadPoolExecutor(1, "ooc-write") as beside,
    ):
        written: Future[None] | None = None
        for first in range(0, rows, step):
            computed = _computed(
                {name: values[first : first + step] for name, values in arrays.items()}
            )
            if written is not None:
                written.result()
            written = beside.submit(writer.append, computed)
        if written is not None:
            written.result()
    return open_path(path, **roles)


def _computed(part: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the values of a piece of each array; those of Dask are computed at once."""
    found, dask = dict(part), sys.modules.get("dask")
    lazy = [name for name, values in part.items() if hasattr(values, "__dask_graph__")]
    # What xarray has in memory looks alike, and then nobody may have imported Dask.
    if lazy and dask is not None:
        how: dict[str, Any] = {}
        if dask.config.get("scheduler", None) is None and "distributed" not in sys.modules:
            # Dask would import it to ask for a client, and there is none.
            how["scheduler"] = "threads"
        found |= zip(lazy, dask.compute(*(part[name] for name in lazy), **how), strict=True)
    return {name: np.asarray(values) for name, values in found.items()}


def new_folder() -> Path:
    """Return a new folder that is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="ooc-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def told(kind: type, size: int, path: Path) -> None:
    """Say that something is written, of which it was not asked."""
    package = "" if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}."
    name = f"{package}{kind.__qualname__}"
    say(
        f"ooc: the {name} is not as it is in a Zarr store, and is written once, "
        f"{format_size(size)}, to {path} until this process ends; to keep it, write it to Zarr "
        "yourself, and open that"
    )


def _step(arrays: Mapping[str, Any], rows: int) -> int:
    """Return rows to take at once: whole chunks of what is computed by chunks."""
    lengths = [
        max(values.chunks[0])
        for values in arrays.values()
        if isinstance(getattr(values, "chunks", None), tuple) and values.chunks
    ]
    longest = max(lengths, default=1)
    return max(1, rows // longest) * longest
