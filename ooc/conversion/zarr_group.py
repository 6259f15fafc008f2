"""Zarr, version 2 or 3, with whatever chunks: arrays as they are stored, with their attributes."""

from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.arrays import ArraySource, array_column
from ooc.conversion.formats import Opening
from ooc.conversion.source import OTHER, Column, Entries, stamp_of
from ooc.core.errors import InputError
from ooc.store.beside import copy_beside
from ooc.store.chunks import scratch_bytes
from ooc.store.copies import Copy, plan_copy
from ooc.store.dataset import open as open_dataset
from ooc.store.members import members_of, opened
from ooc.store.place import Place
from ooc.store.writer import NUMBER_KINDS

# What a chunk of arrays beside the rows may take to be copied.
_BESIDE_SHARE = 8


def open_zarr(path: Path, opening: Opening) -> "ZarrSource":
    """Open a group: all arrays that share the rows of X, or of the largest one."""
    main = _main_array(path, opening)
    source = open_dataset(path, main, False, False).undecoded()
    copy = plan_copy(source, opening.memory // _BESIDE_SHARE)
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
    return ZarrSource(path, copy, columns, skipped)


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
    """Arrays of a group."""

    def __init__(
        self, path: Path, copy: Copy, columns: dict[str, Column], skipped: dict[str, str]
    ) -> None:
        super().__init__(path, columns, skipped, dict(copy.dataset.attributes))
        self._copy = copy
        self._readers = {name: copy.reader(copy.dataset, name, "auto") for name in columns}
        self.held_bytes = max(
            scratch_bytes(copy.dataset.arrays[name], self.unit_rows(name)) for name in columns
        )

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
        """Return the rows of a chunk."""
        return int(self._copy.dataset.arrays[name].chunks[0])

    def piece_bytes(self, names: Any) -> int:
        """Return the bytes of a piece, and of what decodes it."""
        rows, arrays = self.piece_rows(names), self._copy.dataset.arrays
        objects = sum(self._copy.object_bytes.get(name, 0) for name in names) * rows
        scratch = max(scratch_bytes(arrays[name], self.unit_rows(name)) for name in names)
        return super().piece_bytes(names) // 2 + scratch + objects

    def read(self, name: str, first: int, stop: int) -> Entries:
        """Return rows of an array."""
        spec = self._copy.dataset.arrays[name]
        out = np.empty((stop - first, *spec.shape[1:]), spec.dtype)
        self._readers[name]([(first, stop)], out)
        values = self._copy.for_writer(name, out)
        if values.dtype.kind == "M":
            return np.asarray(values.view(np.int64))
        return values

    def finish(self, folder: Path) -> None:
        """Copy what lies beside the rows."""
        copy_beside(self._copy.dataset, self._copy.groups, self._copy.beside, folder)
