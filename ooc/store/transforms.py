"""What may be done to rows as they are read: counts to logarithms, columns to hashed ones.

A new one is a block kernel, see `ooc.store.transform_kernels`, and an entry of `TRANSFORMS`. Rows
are transformed where they are decoded, so that training, evaluation, predictions and statistics see
the same. A run keeps the text that names its transform.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ooc.core.compile_child import Compilation
from ooc.core.compiler import kernel_for
from ooc.core.errors import InputError
from ooc.core.numbers import check_choice
from ooc.store import sequences
from ooc.store import transform_kernels as kernels
from ooc.store.dataset import Dataset
from ooc.store.sparse import EXTENT_BYTES, INDEX_DTYPE, SparseSpec
from ooc.store.spec import ArraySpec

MOST_BITS = 30


@dataclass(frozen=True)
class Kind:
    """A transform before it has its number.

    Attributes
    ----------
    of_rows
        Kernel for sparse rows.
    of_codes
        Kernel for dense rows of category codes; None where those make no sense.
    number
        What follows the colon, where it is left out.
    check
        Raises an `InputError` for a number that cannot be used.
    hashes
        Whether the number is b, of 2^b columns; else there are as many as before.
    pairs
        Whether k non-zeros become k (k + 1) / 2.
    why_not_dense
        What is said of dense rows where there is no `of_codes`.
    """

    of_rows: Callable[..., Any]
    of_codes: Callable[..., Any] | None
    number: float
    check: Callable[[str, float], None]
    hashes: bool = False
    pairs: bool = False
    why_not_dense: str = ""

    def nonzeros(self, count: Any) -> Any:
        """Return how many non-zeros rows of so many have afterwards."""
        return count * (count + 1) // 2 if self.pairs else count


def _check_total(text: str, number: float) -> None:
    if not 0 < number < math.inf:
        raise InputError(f"transform {text}: rows are scaled to a positive total, not {number:g}")


def _check_bits(text: str, number: float) -> None:
    if number != int(number) or not 1 <= number <= MOST_BITS:
        raise InputError(
            f"transform {text}: the number is b of 2^b columns, from 1 to {MOST_BITS}, "
            f"not {number:g}"
        )


TRANSFORMS: dict[str, Kind] = {
    "log-normalise": Kind(
        kernels.log_normalise, None, 1e4, _check_total,
        why_not_dense="it is for counts in a sparse matrix",
    ),
    "hash": Kind(kernels.hash_rows, kernels.hash_codes, 20, _check_bits, hashes=True),
    "hash-pairs": Kind(
        kernels.hash_row_pairs, kernels.hash_code_pairs, 20, _check_bits, hashes=True, pairs=True
    ),
}  # fmt: skip


@dataclass(frozen=True)
class TransformedSpec(SparseSpec):
    """Sparse rows that are made of others as those are read.

    Attributes
    ----------
    source
        What is stored.
    transform
        Its name, and behind a colon its number; of category codes also how many columns of them.
    each
        Non-zeros of every row, where all have as many; `places` is then empty.
    """

    source: ArraySpec = field(kw_only=True)
    transform: str = field(kw_only=True)
    each: int = 0

    @property
    def kind(self) -> Kind:
        """Its entry in `TRANSFORMS`."""
        return TRANSFORMS[self.transform.partition(":")[0]]

    @property
    def number(self) -> float:
        """What follows its colon."""
        return float(self.transform.split(":")[1])

    @property
    def nonzeros(self) -> int:
        """Non-zeros of all rows; of pairs at most, where not every row's place is known."""
        return self.each * self.shape[0] if self.each else super().nonzeros

    def place_of(self, row: int) -> int:
        """Return where a row's non-zeros begin, if all rows were in memory."""
        return self.each * min(row, self.shape[0]) if self.each else super().place_of(row)

    def heaviest(self, block_rows: int) -> np.ndarray:
        """Return the non-zeros of the heaviest block, of the two heaviest, and so on, int64."""
        if not self.each:
            return super().heaviest(block_rows)
        ends = np.arange(block_rows, self.shape[0] + block_rows, block_rows)
        found: np.ndarray = np.minimum(ends, self.shape[0]) * self.each
        return found

    def decoded_bytes(self, start: int, stop: int) -> int:
        """Return the bytes that are decoded to read rows start to stop."""
        return self.source.decoded_bytes(start, stop)

    def bytes_aside(self, block_rows: int) -> int:
        """Return what a reader holds of a block before it is transformed."""
        rows, source = min(block_rows, self.shape[0]), self.source
        if isinstance(source, SparseSpec):
            most = int(source.heaviest(rows)[0])
            return most * source.value_bytes + rows * EXTENT_BYTES + 16 * (rows + source.longest)
        width = math.prod(source.shape[1:])
        return rows * (source.row_bytes + 8 * width + 16) + 16 * width

    def undecoded(self) -> ArraySpec:
        """Return what is stored."""
        return self.source.undecoded()

    def describe(self) -> str:
        """Say in one line what it is, and of what."""
        return f"{super().describe()}, by {self.transform} of {self.source.describe()}"

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it, JSON-ready."""
        return {**super().to_json(), "transform": self.transform}


def transformed(dataset: Dataset, text: str | None) -> Dataset:
    """Return a dataset whose features are transformed as they are read.

    Parameters
    ----------
    text
        "sequences:LENGTH:STRIDE", see `ooc.store.sequences`; or names of `TRANSFORMS`, one after
        the other with commas between, each with a number behind a colon, such as "hash-pairs:18" or
        "log-normalise,hash"; None or "" for none. Behind another colon, rows of category codes have
        as many columns: what a run keeps of them.

    Raises
    ------
    InputError
        If there is no such transform, the rows are none that it takes, or the dataset is
        transformed in another way already.

    Examples
    --------
    >>> import ooc
    >>> dataset = transformed(ooc.open(example_dataset), "hash:8")
    >>> dataset.row_shape, dataset.transform
    ((256,), 'hash:8:3')
    """
    names = _names_in(text or "")
    if dataset.transform:
        here = dataset.transform.split(",")
        if len(here) == len(names) and all(map(_is_kind_of, here, names)):
            return dataset
        raise InputError(
            f"{dataset.features} of {dataset.path} is opened with transform={dataset.transform!r}, "
            f"and {','.join(names) or 'none'!r} is needed; open it with that, or without one"
        )
    if not names:
        return dataset
    if names[0].startswith(f"{sequences.NAME}:"):
        return replace(sequences.in_sequences(dataset, names[0]), transform=names[0])
    spec, noted = dataset.arrays[dataset.features], []
    for each in names:
        spec = _transformed_spec(dataset.path, spec, each)
        noted.append(spec.transform)
    return replace(dataset, arrays={**dataset.arrays, spec.name: spec}, transform=",".join(noted))


def _is_kind_of(transform: str, wanted: str) -> bool:
    """Tell whether a transform is one that was asked for, with or without a number of columns."""
    return transform == wanted or transform.rpartition(":")[0] == wanted


def transform_in(description: Mapping[str, Any]) -> str:
    """Return the transform that a saved run has; a ValueError if it is none."""
    text = description.get("dataset", {}).get("transform", "")
    if not isinstance(text, str) or ",".join(_names_in(text)) != text:
        raise ValueError(f"transform {text!r}")
    return text


def changes_features(transform: str) -> bool:
    """Tell whether what a model takes is not what is stored, however it is cut into rows."""
    return bool(transform) and not transform.startswith(f"{sequences.NAME}:")


def _names_in(text: str) -> list[str]:
    """Read transforms with commas between."""
    names = [_named(each) for each in text.split(",") if each.strip()]
    if len(names) > 1 and any(name.startswith(f"{sequences.NAME}:") for name in names):
        raise InputError(
            f"transform {text}: {sequences.NAME} stand alone, and go with no other; leave one out"
        )
    return names


def _named(text: str) -> str:
    """Return a transform with its number."""
    name, _, given = text.strip().partition(":")
    if name == sequences.NAME:
        return sequences.sequence_text(text)
    given, _, columns = given.partition(":")
    check_choice("transform", (sequences.NAME, *TRANSFORMS), name)
    kind = TRANSFORMS[name]
    try:
        number = float(given) if given else kind.number
        width = f":{int(columns)}" if columns else ""
    except ValueError:
        wrong = given if not columns or columns.isdecimal() else columns
        raise InputError(f"transform {text}: {wrong!r} is no number; try {name}") from None
    kind.check(text, number)
    return f"{name}:{number:g}{width}"


def _transformed_spec(path: str, source: ArraySpec, text: str) -> TransformedSpec:
    name, number, *columns_of_codes = text.split(":")
    kind, rows, width = TRANSFORMS[name], source.shape[0], math.prod(source.shape[1:])
    columns = 2 ** int(number) if kind.hashes else width
    told = f"transform {name} of {source.name} of {path}"
    if isinstance(source, SparseSpec):
        if columns_of_codes:
            raise InputError(
                f"{told} is for rows of {columns_of_codes[0]} columns of category codes, and these "
                "are sparse; name such an array"
            )
        places, unit = source.places, source.unit
        if isinstance(source, TransformedSpec) and source.each:
            places = np.arange(rows + 1) * source.each
        if kind.pairs:
            counts = np.diff(places)
            # Of a unit of several rows no more is known than all of its non-zeros.
            made = kind.nonzeros(counts) if unit == 1 else -(-counts * (source.longest + 1) // 2)
            places = np.concatenate([[0], np.cumsum(made)])
        return TransformedSpec(
            source.name, (rows, columns), source.dtype, (source.chunks[0], columns), None,
            parts=source.parts, unit=unit, places=places, longest=kind.nonzeros(source.longest),
            source=source, transform=text,
        )  # fmt: skip
    if kind.of_codes is None:
        raise InputError(
            f"transform {name} does not go with {source.name} of {path}, whose rows are dense: "
            f"{kind.why_not_dense}"
        )
    if len(source.shape) != 2 or source.dtype.kind not in "biuf" or source.dtype.itemsize < 1:
        raise InputError(
            f"transform {name} takes rows of category codes, one a column, and {source.name} of "
            f"{path} is {source.dtype} {source.shape}; name an array of two axes"
        )
    if columns_of_codes and int(columns_of_codes[0]) != width:
        raise InputError(
            f"{told} is for rows of {columns_of_codes[0]} columns of category codes, and these "
            f"have {width}; name those columns"
        )
    each = kind.nonzeros(width)
    return TransformedSpec(
        source.name, (rows, columns), np.dtype(np.float32), (source.chunks[0], columns), None,
        parts=(source,), longest=each, source=source, each=each,
        transform=f"{name}:{number}:{width}",
    )  # fmt: skip


def transform_kernels(dataset: Dataset) -> list[Compilation]:
    """Return the compilations that reading a dataset's features needs."""
    spec, found = dataset.arrays[dataset.features], list[Compilation]()
    numbers, keys = np.zeros(1, np.int64), np.zeros(1, np.uint64)
    while isinstance(spec, TransformedSpec):
        columns, values = np.zeros(1, INDEX_DTYPE), np.zeros(1, spec.dtype)
        out = (spec.number, keys, np.zeros(1), columns, values, numbers)
        if isinstance(spec.source, SparseSpec):
            rows: tuple[Any, ...] = (np.zeros((1, 3), np.int64), spec.dtype.type(0))
            found.append(kernel_for(spec.kind.of_rows, *rows, *out))
        else:
            found.append(kernel_for(spec.kind.of_codes, np.zeros((1, 1)), *out))
        spec = spec.source
    return found
