"""Zarr, version 2 or 3, with whatever chunks: arrays as they are stored, with their attributes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.arrays import ArraySource, array_column, matrix_column
from ooc.conversion.by_columns import stored_matrix
from ooc.conversion.formats import Opening
from ooc.conversion.matrices import StoredMatrix, memory_of, shape_of, sparse_kind
from ooc.conversion.source import OTHER, Column, Entries, stamp_of
from ooc.core.errors import InputError
from ooc.store.beside import copy_beside
from ooc.store.chunks import scratch_bytes
from ooc.store.copies import Copy, plan_copy
from ooc.store.dataset import ArraySpec
from ooc.store.dataset import open as open_dataset
from ooc.store.fields import NUMBER_KINDS
from ooc.store.member import attributes_of
from ooc.store.members import members_of, opened
from ooc.store.place import Place
from ooc.store.sparse_members import array_beside, column_names, sparse_members

# What a chunk of arrays beside the rows may take to be copied.
_BESIDE_SHARE = 8


def open_zarr(path: Path, opening: Opening) -> "ZarrSource":
    """Open a group: all arrays, and sparse matrices, that share the rows of X, or the largest."""
    with opened(Place(str(path))) as group:
        attributes = attributes_of(group)
        nodes = sparse_members(group)
        main = next((name for name in (*opening.columns, "X") if name in nodes), "")
        rows = shape_of(f"{main} of {path}", nodes[main].attrs)[0] if main else None
        main = _main_array(path, opening) if rows is None else array_beside(group, rows, nodes)
    copy, columns, skipped = None, dict[str, Column](), dict[str, str]()
    if main:
        source = open_dataset(path, main, False, False).undecoded()
        copy = plan_copy(source, opening.memory // _BESIDE_SHARE)
        rows = source.rows
        columns, skipped = _columns_of(copy)
    matrices: dict[str, StoredMatrix] = {}
    for number, (name, node) in enumerate(nodes.items()):
        what = f"{name} of {path}"
        if shape_of(what, node.attrs)[0] != rows:
            continue
        kind = sparse_kind(node.attrs) or "csr"
        matrix = matrices[name] = stored_matrix(what, kind, node, number, opening)
        columns[name] = matrix_column(name, matrix, opening.dense, column_names(group, name))
    left = {name: why for name, why in skipped.items() if name not in matrices}
    return ZarrSource(path, copy, columns, left, matrices, attributes)


def _columns_of(copy: Copy) -> tuple[dict[str, Column], dict[str, str]]:
    """Describe the arrays of a copy."""
    columns: dict[str, Column] = {}
    skipped = dict(copy.left_out)
    for name, field in copy.fields.items():
        spec = copy.dataset.arrays[name]
        found: Column | str
        if field.variable or field.in_memory.kind not in "biufMUS":
            found = Column(
                name, OTHER, np.dtype(np.uint8), spec.shape[1:], spec.shape[0], written=field
            )
        elif field.in_memory.kind in NUMBER_KINDS:
            found = array_column(name, spec.dtype, spec.shape, field.attributes, field.dimensions)
        else:
            found = Column(name, OTHER, spec.dtype, spec.shape[1:], spec.shape[0], written=field)
        if isinstance(found, str):
            skipped[name] = found
        else:
            columns[name] = found
    return columns, skipped


def _main_array(path: Path, opening: Opening) -> str:
    """Return the array whose rows count: one that was named, "X", or the largest."""
    with opened(Place(str(path))) as group:
        members = members_of(Place(str(path)), group, set(opening.columns))
    usable = {name: each.array for name, each in members.items() if each.array is not None}
    numbers = {
        name: array for name, array in usable.items() if array.shape and not members[name].reason
    }
    for name in (*opening.columns, "X"):
        if name in numbers:
            return name
    if not numbers:
        told = "; ".join(f"{name} {each.reason}" for name, each in members.items() if each.reason)
        raise InputError(f"{path} has no array of numbers with rows; {told or 'it is empty'}")
    return max(numbers, key=lambda name: int(np.prod(numbers[name].shape)))


class ZarrSource(ArraySource):
    """Arrays of a group, and sparse matrices."""

    def __init__(
        self,
        path: Path,
        copy: Copy | None,
        columns: dict[str, Column],
        skipped: dict[str, str],
        matrices: Mapping[str, StoredMatrix],
        attributes: Mapping[str, Any],
    ) -> None:
        super().__init__(path, columns, skipped, attributes)
        self._copy, self.matrices = copy, matrices
        self._readers = (
            {
                name: copy.reader(copy.dataset, name, "auto")
                for name in copy.fields
                if name in columns
            }
            if copy is not None
            else {}
        )
        self.held_bytes = self._scratch(list(self._readers)) + memory_of(matrices.values())

    def _scratch(self, names: Sequence[str]) -> int:
        """Return what decodes a chunk of the largest array."""
        return max(
            (scratch_bytes(self._arrays[name], self.unit_rows(name)) for name in names), default=0
        )

    @property
    def _arrays(self) -> Mapping[str, ArraySpec]:
        return {} if self._copy is None else self._copy.dataset.arrays

    def stamp(self) -> Any:
        """Return names, sizes and times of all files, summed up."""
        files = (
            [self.path]
            if self.path.is_file()
            else sorted(file for file in self.path.rglob("*") if file.is_file())
        )
        stamps = stamp_of(files, self.path)
        return [len(stamps), sum(size for _, size, _ in stamps), max(t for *_, t in stamps)]

    def unit_rows(self, name: str) -> int:
        """Return the rows of a chunk; sparse rows are cut where they have values enough."""
        return 1 if name in self.matrices else int(self._arrays[name].chunks[0])

    def piece_bytes(self, names: Sequence[str]) -> int:
        """Return the bytes of a piece, and of what decodes it."""
        rows = self.piece_rows(names)
        known = {} if self._copy is None else self._copy.object_bytes
        objects = sum(known.get(name, 0) for name in names) * rows
        scratch = self._scratch([name for name in names if name not in self.matrices])
        matrices = sum(self.matrices[name].piece_bytes for name in names if name in self.matrices)
        return rows * self._row_bytes(names) + matrices + scratch + objects

    def read(self, name: str, first: int, stop: int) -> Entries:
        """Return rows of an array; of a sparse one dense rows where that was asked for."""
        if name in self.matrices:
            rows = self.matrices[name].read(first, stop)
            return rows if self.columns[name].is_sparse else rows.toarray()
        assert self._copy is not None
        spec = self._arrays[name]
        out = np.empty((stop - first, *spec.shape[1:]), spec.dtype)
        self._readers[name]([(first, stop)], out)
        values = self._copy.for_writer(name, out)
        if values.dtype.kind == "M":
            return np.asarray(values.view(np.int64))
        return values

    def finish(self, folder: Path) -> None:
        """Copy what lies beside the rows."""
        if self._copy is not None:
            copy = self._copy
            copy_beside(copy.dataset, copy.groups, copy.beside, folder)
