"""Where an exact shuffle works: one process at a time, with room enough, gone on with if it can."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ooc.core.destination import hidden_beside, write_whole
from ooc.core.errors import InputError
from ooc.core.sizes import format_size
from ooc.shuffle.job import Job
from ooc.store.copies import Copy
from ooc.store.dataset import Dataset, check_one_store
from ooc.store.destinations import Destination, make_folder
from ooc.store.fields import encode_chunk

SAMPLED_BLOCKS = 16


def check_destination(source: Dataset, destination: Destination) -> None:
    """Refuse a destination that lies inside the source, and a source that is not whole."""
    check_one_store(source, "shuffled")
    if "://" in source.path:
        inside = destination.shown.startswith(f"{source.path}/")
    else:
        inside = Path(source.path).resolve() in destination.beside.resolve().parents
    if inside:
        raise InputError(
            f"{destination.shown} lies inside the source {source.path}; choose a path outside it"
        )
    if source.selection is not None:
        raise InputError(f"{source.path} is one side of a split; shuffle the whole dataset first")


def folders_beside(destination: Destination) -> tuple[Path, Path]:
    """Return the hidden folders of scratch files and of the store that is not whole yet."""
    return hidden_beside(destination.beside, "shuffle"), destination.partial


@contextmanager
def workspace(copy: Copy, destination: Destination, job: Job) -> Iterator[Path]:
    """Make the folder of scratch files; in the end it goes.

    The destination is this process's alone, see `Destination.claim`. What an earlier
    call of the very same job left is kept; what any other one did is removed.
    """
    folder, _ = folders_beside(destination)
    _check_free_space(copy, destination, job)
    make_folder(folder)
    note, identity = folder / "job.json", json.dumps(job.identity(copy.dataset))
    if not note.exists() or note.read_text() != identity:
        for file in folder.iterdir():
            file.unlink()
        destination.discard()
        write_whole(note, identity.encode())
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def file_bytes(folder: str | Path) -> int:
    """Return the bytes of a file, or of all files in a folder; of a remote one 0."""
    if "://" in str(folder):
        return 0
    files = (Path(folder), *Path(folder).rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file())


def _check_free_space(copy: Copy, destination: Destination, job: Job) -> None:
    parent = next(each for each in destination.beside.resolve().parents if each.exists())
    there = sum(map(file_bytes, folders_beside(destination)))
    stays = _stored_bytes(copy, job) if destination.is_local else 0
    free = shutil.disk_usage(parent).free
    if job.scratch_bytes + stays - there > free:
        raise InputError(
            f"shuffling to {destination.shown} will take about {format_size(job.scratch_bytes)} of "
            f"scratch and {format_size(stays)} to stay, but {parent} has {format_size(free)} free; "
            "choose another disk"
        )


def _stored_bytes(copy: Copy, job: Job) -> int:
    """Return the bytes of the new store; sorted rows compress better than a mixed sample."""
    blocks = min(SAMPLED_BLOCKS, -(-job.rows // job.chunk_rows))
    each = max(1, min(job.chunk_rows, job.rows) // blocks)
    starts = np.linspace(0, job.rows - each, blocks, dtype=int).tolist()
    order = np.random.Generator(np.random.SFC64(0)).permutation(blocks * each)
    stored = 0
    for name in job.layout.names:
        spec = copy.dataset.arrays[name]
        values = np.empty((blocks * each, *spec.shape[1:]), spec.dtype)
        read_runs = copy.reader(copy.dataset, name, "auto")
        read_runs([(start, start + each) for start in starts], values)
        stored += len(encode_chunk(np.ascontiguousarray(values[order]), job.compression))
    beside = sum(file_bytes(f"{copy.dataset.path}/{name}") for name in copy.beside)
    return int(1.05 * stored * job.rows / (blocks * each)) + beside + 2**20
