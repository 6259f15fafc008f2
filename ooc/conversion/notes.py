"""What a conversion notes beside the store that grows, so that a later call goes on from there.

For each whole shard: where the next one begins in the source, and what was counted until then.
"""

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ooc.conversion.sparse_chunks import Tails, joined, split_by_matrix
from ooc.conversion.text_hash import packed_sketch, unpacked_sketch
from ooc.core.destination import hidden_beside, write_whole
from ooc.store.destinations import Destination, make_folder
from ooc.store.sparse_writer import SparseWriter
from ooc.store.writer import Writer

SparseWriters = Mapping[str, SparseWriter]
NO_TAILS: Mapping[str, Tails] = MappingProxyType({})
NO_SPARSE: SparseWriters = MappingProxyType({})


@dataclass
class Standing:
    """How far a conversion is.

    Attributes
    ----------
    position, skip
        The piece of the source with which it goes on, and rows at its beginning that are done.
    shards, rows_written, rows_read
        What is done.
    missing
        Rows that lacked a value, by column.
    categories
        Texts by column, in the order of their codes.
    sparse
        How far the arrays of sparse matrices are, by name, see `SparseWriter.state`.
    nonzeros
        Values of sparse matrices, by name.
    sketches
        How many different texts columns have that are hashed, see `ooc.conversion.text_hash`.
    """

    position: Any = None
    skip: int = 0
    shards: int = 0
    rows_written: int = 0
    rows_read: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    categories: dict[str, list[str]] = field(default_factory=dict)
    sparse: dict[str, Any] = field(default_factory=dict)
    nonzeros: dict[str, int] = field(default_factory=dict)
    sketches: dict[str, np.ndarray] = field(default_factory=dict)


class Notes:
    """The hidden folder of a conversion's notes."""

    def __init__(self, destination: Destination) -> None:
        self._destination, self.partial = destination, destination.partial
        self.folder = hidden_beside(destination.beside, "convert")

    def begin(self, identity: Mapping[str, Any]) -> str:
        """Keep what an earlier call of the same job left; return why it was not kept, or ''.

        The destination is this process's alone, see `Destination.claim`.
        """
        make_folder(self.folder)
        if self.same(identity) and not (self.folder / "sorting").exists():
            return ""
        why, text = self._why_anew(identity), _as_text(identity)
        self.remove()
        make_folder(self.folder)
        write_whole(self._job, text.encode())
        return why

    @property
    def _job(self) -> Path:
        return self.folder / "job.json"

    def same(self, identity: Mapping[str, Any]) -> bool:
        """Tell whether an earlier call was of the same job."""
        return self._job.exists() and self._job.read_text() == _as_text(identity)

    def _why_anew(self, identity: Mapping[str, Any]) -> str:
        if not self._job.exists():
            return ""
        was, now = json.loads(self._job.read_text()), json.loads(_as_text(identity))
        changed = [name for name in now if was.get(name) != now[name]]
        if not changed:
            return "begins anew, as the call before was stopped while it sorted categories"
        return (
            "begins anew: since the call before, which was stopped, these have changed: "
            f"{', '.join(changed)}"
        )

    def standing(self, writer: Writer, sparse: SparseWriters = NO_SPARSE) -> Standing:
        """Return how far the whole shards of an earlier call reach; sparse arrays go back there."""
        found = Standing()
        while (note := self._path(found.shards)).exists():
            told = json.loads(note.read_text())
            new = told.pop("new_categories")
            rows = told["rows_written"] - found.rows_written
            if not self._holds(sparse, told):
                break
            if not writer.keep_shard(found.shards, rows):
                break
            categories = {name: [*found.categories.get(name, []), *new[name]] for name in new}
            missing = Counter(told.pop("missing"))
            sketches = {name: unpacked_sketch(text) for name, text in told.pop("sketches").items()}
            found = Standing(**told, missing=missing, categories=categories, sketches=sketches)
        for name, state in found.sparse.items():
            sparse[name].go_back(state)
        return found

    def _holds(self, sparse: SparseWriters, told: Mapping[str, Any]) -> bool:
        if not sparse:
            return True
        there = self._tails(told["shards"]).exists()
        return there and all(each.holds(told["sparse"][name]) for name, each in sparse.items())

    def tails(self, standing: Standing) -> dict[str, Tails]:
        """Return what was in no chunk yet of each sparse matrix."""
        if not standing.sparse:
            return {}
        with np.load(self._tails(standing.shards), allow_pickle=False) as found:
            return split_by_matrix(found, list(standing.sparse))

    def save(
        self, standing: Standing, before: Mapping[str, int], tails: Mapping[str, Tails] = NO_TAILS
    ) -> None:
        """Note a shard that is on the disk; `before` are numbers of categories until then."""
        if tails:
            packed = BytesIO()
            np.savez(packed, **joined(tails))  # type: ignore[arg-type]
            write_whole(self._tails(standing.shards), packed.getbuffer())
        told = {**vars(standing), "missing": dict(standing.missing)}
        known = told.pop("categories")
        told["sketches"] = {name: packed_sketch(each) for name, each in standing.sketches.items()}
        told["new_categories"] = {name: known[name][before.get(name, 0) :] for name in known}
        write_whole(self._path(standing.shards - 1), json.dumps(told).encode())

    def mark_sorting(self) -> None:
        """Note that codes are about to be rewritten: half done, that cannot be gone on with."""
        write_whole(self.folder / "sorting", b"")

    def remove(self) -> None:
        """Remove the notes, and the store that grew."""
        self._destination.discard()
        self.forget()

    def forget(self) -> None:
        """Remove the notes."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tails(self, shards: int) -> Path:
        return self.folder / f"tails-{shards:06d}.npz"

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:06d}.json"


def _as_text(identity: Mapping[str, Any]) -> str:
    return json.dumps(identity, sort_keys=True)
