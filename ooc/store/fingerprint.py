"""A fingerprint of a dataset: its metadata, its files' sizes and times, and a hash of some rows.

It proves that the sampled rows are the same, and that no file of the arrays was written, added or
removed since, unless its time was set back: not what every file holds.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.memory import own_memory
from ooc.store.chunks import BadChunkError, open_reader, parts_of
from ooc.store.dataset import ArraySpec, Dataset, open_zarr_array
from ooc.store.inventory import inventory

PIECE_BYTES = 4 * 2**20
SAMPLED_SPANS = 8
SPAN_ROWS = 64


def fingerprint(dataset: Dataset, names: Sequence[str], io: str = "auto") -> dict[str, Any]:
    """Return what tells a dataset from another one, JSON-ready.

    "files" is the inventory of each array, see `ooc.store.inventory.inventory`, "attributes" a
    hash of what the arrays say of themselves, and "sampled_rows_sha256" one of the first rows,
    the last, and a few between.

    Examples
    --------
    >>> import ooc
    >>> fingerprint(ooc.open(example_dataset), ["X"])["rows"]
    1000
    """
    specs = dataset.specs(tuple(names))
    stored = {
        _key(dataset, alone, part): (alone, part)
        for spec in specs
        for alone, part in parts_of(dataset, spec)
    }
    return {
        "rows": dataset.rows,
        "arrays": {spec.name: spec.to_json() for spec in specs},
        "selection": dataset.selection and dataset.selection.to_json(),
        "files": {key: inventory(alone, spec.name) for key, (alone, spec) in stored.items()},
        "attributes": {
            key: _attributes_hash(alone, spec.name) for key, (alone, spec) in stored.items()
        },
        "sampled_rows_sha256": _sampled_hash(list(stored.values()), io),
    }


def check_same_data(
    where: str, saved: Mapping[str, Any], here: Mapping[str, Any], confirmed: bool = False
) -> None:
    """Refuse to go on in a run's directory with other data than it was begun with.

    Where all that differs between the fingerprints is when files were written, as in a copy, the
    user has to have `confirmed` that the data are the same: that is not proven.
    """
    here = json.loads(json.dumps(here))  # as what was saved went
    others, rewritten = [], []
    for key in ("rows", "arrays", "selection", "attributes", "sampled_rows_sha256"):
        # A run of an earlier version may have noted less.
        if key in saved:
            others += differences({key: saved[key]}, {key: here[key]})
    for name, was in saved.get("files", {}).items():
        now = here["files"].get(name)
        if was and now:
            kept = [{**each, "changes": None} for each in (was, now)]
            others += [f"files of {name}: {each}" for each in differences(*kept)]
            rewritten += [name] if was["changes"] != now["changes"] else []
    if others:
        raise InputError(
            f"{where} cannot go on with another dataset: {'; '.join(others)}; use the dataset of "
            "the run, or train anew in another directory"
        )
    if rewritten and not confirmed:
        sampled = min(here["rows"], SAMPLED_SPANS * SPAN_ROWS)
        raise InputError(
            f"{where} cannot go on: the files of {', '.join(rewritten)} were written after the run "
            f"began, or copied. Their number and sizes are the same, and so are {sampled:,} "
            f"sampled rows of {here['rows']:,}; that the others are is not proven. If you know "
            "that they are, give --same-data (in Python same_data=True); if not, train anew in "
            "another directory"
        )


def differences(saved: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Say in words in which entries two nested mappings differ.

    Examples
    --------
    >>> differences({"rows": 10, "by": {"x": 1}}, {"rows": 12, "by": {"x": 1}})
    ['rows was 10, here it is 12']
    """
    found = []
    for name in dict.fromkeys([*saved, *here]):
        was, now = saved.get(name), here.get(name)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            found += [f"{name}.{inner}" for inner in differences(was, now)]
        elif was != now:
            texts = map(str, (was, now))
            was, now = (text if len(text) <= 60 else text[:57] + "..." for text in texts)
            found.append(f"{name} was {was}, here it is {now}")
    return found


def _key(dataset: Dataset, alone: Dataset, spec: ArraySpec) -> str:
    """Return an array's name, after the number of its store where there are several."""
    if dataset.stores is None:
        return spec.name
    return f"store {dataset.stores.paths.index(alone.path)}: {spec.name}"


def _attributes_hash(dataset: Dataset, name: str) -> str:
    """Return the hash of an array's attributes and fill value, which may be what values mean."""
    array = open_zarr_array(dataset, name)
    told = [dict(array.attrs), str(array.fill_value)]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _sampled_hash(stored: Sequence[tuple[Dataset, ArraySpec]], io: str) -> str:
    digest = hashlib.sha256()
    for dataset, spec in stored:
        rows = spec.shape[0]
        starts = np.linspace(0, max(0, rows - SPAN_ROWS), SAMPLED_SPANS).astype(np.int64)
        reader, step = open_reader(dataset, spec.name, io), max(1, PIECE_BYTES // spec.row_bytes)
        out = own_memory((min(step, SPAN_ROWS, rows), *spec.shape[1:]), spec.dtype)
        for start in np.unique(starts).tolist():
            stop, part = min(start + SPAN_ROWS, rows), digest.copy()
            bad: list[BadChunkError] = []
            for first in range(start, stop, step):
                values = out[: min(step, stop - first)]
                reader.read_runs([(first, first + len(values))], values, bad)
                part.update(values.reshape(-1).view(np.uint8).data)
            # A chunk that cannot be read is for training to refuse or to skip.
            if bad:
                digest.update(b"unreadable")
            else:
                digest = part
    return digest.hexdigest()
