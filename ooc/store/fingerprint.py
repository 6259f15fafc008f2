"""A fingerprint of a dataset: its metadata, and a hash of some of its rows."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ooc.store.chunks import BadChunkError, open_reader
from ooc.store.dataset import ArraySpec, Dataset

SAMPLED_SPANS = 8
SPAN_ROWS = 64


def fingerprint(dataset: Dataset, names: Sequence[str], io: str = "auto") -> dict[str, Any]:
    """Return what tells a dataset from another one, JSON-ready.

    "sampled_rows_sha256" is a hash of the first rows, the last, and a few between.

    Examples
    --------
    >>> import ooc
    >>> fingerprint(ooc.open(example_dataset), ["X"])["rows"]
    1000
    """
    specs = dataset.specs(tuple(names))
    return {
        "rows": dataset.rows,
        "arrays": {spec.name: spec.to_json() for spec in specs},
        "selection": dataset.selection and dataset.selection.to_json(),
        "sampled_rows_sha256": _sampled_hash(dataset, specs, io),
    }


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
            found.append(f"{name} was {_short(was)}, here it is {_short(now)}")
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _sampled_hash(dataset: Dataset, specs: Sequence[ArraySpec], io: str) -> str:
    rows = dataset.stored_rows
    starts = np.linspace(0, max(0, rows - SPAN_ROWS), SAMPLED_SPANS).astype(np.int64)
    digest = hashlib.sha256()
    for spec in specs:
        reader = open_reader(dataset, spec.name, io)
        for start in np.unique(starts).tolist():
            stop = min(start + SPAN_ROWS, rows)
            out = np.zeros((stop - start, *spec.shape[1:]), spec.dtype)
            bad: list[BadChunkError] = []
            reader.read_runs([(start, stop)], out, bad)
            # A chunk that cannot be read is for training to refuse or to skip.
            digest.update(b"unreadable" if bad else out.tobytes())
    return digest.hexdigest()
