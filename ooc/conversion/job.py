"""A conversion from its call to its end: decided, fitted into memory, done, told."""

import errno
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ooc.conversion.account import described, final_attributes, told_of
from ooc.conversion.budget import Fit, fit
from ooc.conversion.choice import Choice
from ooc.conversion.formats import Opening, open_source
from ooc.conversion.layout import lay_out
from ooc.conversion.notes import Notes
from ooc.conversion.outputs import Layout
from ooc.conversion.pipeline import Growing, Work, copy
from ooc.conversion.sorting import sort_categories
from ooc.conversion.source import Source
from ooc.conversion.stacking import stacking_kernels
from ooc.conversion.text_hash import hashing_kernels
from ooc.core.audience import reporting
from ooc.core.compile_child import load_kernels
from ooc.core.destination import blamed, hidden_beside, write_whole
from ooc.core.errors import DataError, InputError
from ooc.core.numbers import check_counts
from ooc.core.process import memory_numbers
from ooc.core.progress import Progress, Report, tell
from ooc.store.addresses import StorageOptions
from ooc.store.compression import FAST_WRITE, compression_of
from ooc.store.dataset import open as open_dataset
from ooc.store.destinations import (
    Destination,
    LocalDestination,
    UnfinishedError,
)
from ooc.store.roles import RoleName
from ooc.store.sparse_writer import SparseWriter
from ooc.store.writer import create, new_destination
from ooc.stream.missing_values import rule_of
from ooc.stream.plan import budget_of, held_bytes
from ooc.version import VERSION


def convert(
    source: str | Path,
    destination: str | Path,
    columns: Sequence[str] | None = None,
    target: RoleName = None,
    weight: RoleName = None,
    without: Sequence[str] = (),
    dtype: str | None = None,
    missing_values: str = "raise",
    shuffle: bool = False,
    seed: int = 0,
    memory: str | int = "1GiB",
    threads: int | None = None,
    format: str | None = None,
    dense: bool = False,
    zero_based: bool = False,
    image_size: tuple[int, int] | None = None,
    report: Report | bool = True,
    storage_options: StorageOptions | None = None,
    hash_text: Sequence[str] = (),
    compression: str = FAST_WRITE,
) -> dict[str, Any]:
    """Write data of another format as a dataset, out of core.

    Columns of numbers of a table become the features ``X`` (N, D), those of texts codes of their
    sorted categories, times int64 since 1970 with their unit; arrays keep their shape. Names,
    categories and units are in the attributes of the arrays. A call that was killed leaves hidden
    folders beside `destination`; the same call again goes on from the last whole shard, to the
    same bits. If the source or a setting has changed since, it begins anew, and says so. A call
    that fails leaves nothing that looks like a dataset.

    Parameters
    ----------
    source
        A file or folder. The format is told by its suffix or what is in it.
    destination
        A local folder that does not exist yet, or a URL at which there is nothing yet.
    columns
        Names of the features, in their order; no others are then kept beside them but target and
        weight. By default all columns of numbers of a table, or the array "X", or the only one.
    target, weight
        Column that becomes "y", and that becomes "weight". By default those of these names
        (a table's "weight" is a feature); False for none.
    without
        Columns that are left out.
    dtype
        Of the features, such as "float32"; by default the smallest that holds all of them.
    missing_values
        "raise" names the first row that lacks a feature, target or weight; "drop" leaves such
        rows out; "keep" keeps them as missing (NaN, code -1), declared so; "fill:NUMBER" puts a
        number in place of missing features. What lies beside keeps what is missing as missing.
    shuffle
        Write the rows in one uniformly random order, that of `ooc.shuffle.exact` and of `seed`.
    memory
        Bytes that the whole process may use.
    threads
        Threads that read and encode; by default one more than cores, 8 at most.
    format
        One of `ooc.conversion.formats.FORMATS`, where the suffix does not tell it.
    dense
        Write sparse rows as dense ones, also where that is many times as large; by default they
        stay sparse.
    zero_based
        Indices of an svmlight file begin at 0, as scikit-learn writes them by default.
    image_size
        (height, width) to which images are resized; by default all have to be of one size.
    storage_options
        Of a URL, as `ooc.open` takes them.
    hash_text
        Columns of text that become hashed whole numbers instead of codes of categories, of which
        there can be 65,536 at most: of 53 bits, or as many as `dtype` holds. Among `columns` they
        are features, for ``ooc.open(..., transform="hash:20")``, else arrays beside them; see
        `ooc.conversion.text_hash`. How likely two texts share a number is told at the end.
    compression
        "fast-write" or "fast-read", see `ooc.create`.

    Returns
    -------
    dict
        "rows", "rows_read", "rows_dropped", "rows_kept_from_before" (of a call that was stopped),
        "seconds", "rows_per_second", "bytes_per_second" (decoded), "format", "columns" (what
        became of each, by name), "missing" (rows that lacked a value, by column), "notes", and
        the memory keys.

    Raises
    ------
    InputError
        Before any work: if the source cannot be opened, a column is not there or cannot be what
        it is to be, the destination exists, or the budget is too small.
    DataError
        If a row cannot be converted; it is named, with its file, line or column.

    Examples
    --------
    >>> np.save(folder / "a.npy", np.arange(6.0).reshape(3, 2))
    >>> result = convert(folder / "a.npy", folder / "a.zarr", memory="512MiB")
    >>> result["rows"], zarr.open_group(folder / "a.zarr", mode="r")["X"][2].tolist()
    (3, [4.0, 5.0])
    """
    compression_of(compression)  # refuses what there is not
    place = new_destination(destination, storage_options)
    check_counts(threads=threads)
    rule, budget, begun = rule_of(missing_values), budget_of(memory), time.perf_counter()
    choice = Choice(columns, target, weight, tuple(without), dtype, rule, tuple(hash_text))
    held = held_bytes() + place.buffer_bytes
    between = LocalDestination(hidden_beside(place.beside, "unshuffled"))
    scratch = Notes(between if shuffle else place).folder
    with reporting(f"convert {Path(source).name}", report) as telling:
        how = (dense, zero_based, image_size, tuple(columns or ()), budget, scratch)
        opening = Opening(*how, partial(tell, telling))
        tell(telling, "opening the source")
        opened, name = open_source(source, format, opening)
        _check_apart(opened, place)
        layout = lay_out(opened, choice)
        if shuffle:
            _check_shuffled(opened, layout)
        fitted = fit(opened, layout, name, budget, threads, held)
        settings = {
            "source": str(Path(source).resolve()),
            "files of the source": opened.stamp(),
            "layout": described(layout),
            "missing_values": missing_values,
            "options": [dense, zero_based, image_size, compression],
            "version": VERSION,
        }
        work = Work(opened, layout, rule, fitted.threads, fitted.depth, fitted.ahead)
        job = _Job(work, fitted, settings, name, telling, compression)
        kernels = stacking_kernels(layout.outputs)
        if any(output.hashed for output in layout.outputs):
            kernels += hashing_kernels()
        if kernels:
            load_kernels(kernels, telling)
        if shuffle:
            with place.claim():
                pass  # refuse now where nothing can be written
            result = _convert_and_shuffle(job, place, between, budget, seed, threads)
        else:
            result = _convert(job, place)
            Notes(place).forget()
    seconds = time.perf_counter() - begun
    rows, projected = result["rows"], result.pop("projected", fitted.projected)
    return {
        **result,
        "format": name,
        "seconds": seconds,
        "rows_per_second": rows / seconds,
        "bytes_per_second": rows * layout.row_bytes / seconds,
        "shuffled": shuffle,
        **memory_numbers(budget, projected),
    }


@dataclass(frozen=True)
class _Job:
    """What was decided before any row was read."""

    work: Work
    fitted: Fit
    settings: Mapping[str, Any]
    format: str
    report: Report
    compression: str


def _check_apart(source: Source, destination: Destination) -> None:
    """Refuse a destination inside of the source."""
    if source.path.resolve() in destination.beside.resolve().parents:
        raise InputError(
            f"{destination.shown} lies inside the source {source.path}; choose a path outside it"
        )


def _check_shuffled(source: Source, layout: Layout) -> None:
    """Refuse to write sparse rows in another order."""
    if layout.sparse:
        names = ", ".join(output.column.name for output in layout.sparse)
        raise InputError(
            f"--shuffle cannot put sparse rows in another order yet, as those of {names} in "
            f"{source.path}; convert without it, as training shuffles blocks of them while it "
            "reads, leave them out with --without, or give --dense"
        )


def _convert(job: _Job, place: Destination) -> dict[str, Any]:
    """Write the store under a path, and return what there is to tell; its notes stay."""
    notes = Notes(place)
    with place.claim(), blamed(place.beside):
        if anew := notes.begin(job.settings):
            job.report(Progress(0, 1, 0, 0.0, text=anew))
        try:
            result = _write(job, place, notes)
        except UnfinishedError as error:
            raise UnfinishedError(
                f"{error}; what is written stays, and the same command goes on from there"
            ) from None
        except InputError:
            # The source or the settings have to change: there is nothing to go on with.
            notes.remove()
            raise
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise InputError(
                f"the disk of {place.beside} filled up; free some space and give the same command "
                f"again to go on, or remove {notes.folder} and {notes.partial}"
            ) from None
    result["notes"] += [anew] if anew else []
    return result


def _write(job: _Job, place: Destination, notes: Notes) -> dict[str, Any]:
    """Write all rows, and what is noted of them."""
    work, layout, fitted = job.work, job.work.layout, job.fitted
    begun, before = time.perf_counter(), [-1]

    def advance(written: int) -> None:
        if before[0] < 0:
            before[0] = written
        total = work.source.rows or written
        passed, done = time.perf_counter() - begun, written * layout.row_bytes
        numbers = Progress(written, max(total, written), done, passed)
        job.report(replace(numbers, memory_budget_bytes=fitted.budget))

    def complete(folder: Path) -> None:
        for output in layout.sparse:
            sparse[output.name].finish(writer.rows, standing.nonzeros[output.name])
        sort_categories(place.place(), folder, layout, writer, standing, notes)
        work.source.finish(folder)

    fields = {output.name: output.field() for output in layout.dense}
    attributes = {**work.source.attributes, "converted": _origin(job)}
    with create(
        place,
        fields,
        attributes,
        chunk_bytes=fitted.chunk_rows * fitted.widest,
        shard_bytes=fitted.shard_rows * fitted.widest,
        resume=True,
        check=complete,
        beside_bytes=max((output.row_bytes for output in layout.sparse), default=0),
        compression=job.compression,
    ) as writer:
        cut = (fitted.chunk_bytes, fitted.shard_bytes, job.compression)
        sparse = {
            output.name: SparseWriter(place, output.name, output.sparse_field(*cut))
            for output in layout.sparse
        }
        standing = copy(work, Growing(writer, notes, sparse), advance)
        if writer.rows == 0:
            raise DataError(
                f"no row of {work.source.path} is left: each of its {standing.rows_read:,} rows "
                "lacks a value; give --missing-values keep or fill:NUMBER"
            )
        for output in layout.outputs:
            output.attributes.update(final_attributes(output, standing, work.rule))
    return {
        "rows": writer.rows,
        "rows_read": standing.rows_read,
        "rows_dropped": standing.rows_read - writer.rows,
        "rows_kept_from_before": max(before[0], 0),
        "columns": told_of(layout, standing, work.rule),
        "missing": dict(standing.missing),
        "notes": [],
    }


def _origin(job: _Job) -> dict[str, Any]:
    """Return what the store notes of where it comes from."""
    return {"source": job.work.source.path.name, "format": job.format, "ooc": VERSION}


def _convert_and_shuffle(
    job: _Job,
    place: Destination,
    between: LocalDestination,
    budget: int,
    seed: int,
    threads: int | None,
) -> dict[str, Any]:
    """Convert to a hidden store, and shuffle that to the destination."""
    from ooc.shuffle.external_sort import exact

    notes, path = Notes(between), between.path
    done = notes.folder / "result.json"
    if path.exists() and not (notes.same(job.settings) and done.exists()):
        shutil.rmtree(path)
    if not path.exists():
        result = _convert(replace(job, compression=FAST_WRITE), between)
        write_whole(done, json.dumps(result).encode())
    result = json.loads(done.read_text())
    first = job.work.layout.outputs[0].name
    shuffled = exact(
        open_dataset(path, first, False, False), place, budget, seed, threads, job.report,
        compression=job.compression,
    )  # fmt: skip
    shutil.rmtree(path)
    notes.forget()
    result["notes"] += [f"left out: {name}, as {why}" for name, why in shuffled["left_out"].items()]
    return result | {
        "seed": seed,
        "projected": max(job.fitted.projected, shuffled["memory_projected_bytes"]),
    }
