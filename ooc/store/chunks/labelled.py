"""Rows of a target of labels: whatever is stored, on its way to codes."""

import numpy as np

from ooc.core.errors import DataError, InputError
from ooc.store.chunks.row_reader import BadChunkError, BadChunks, RowReader, Runs
from ooc.store.labels import Labels, listed

# What a row takes aside: its number, its place and its code; of text also NumPy's own strings.
LABEL_BYTES, TEXT_BYTES = 48, 192


class LabelReader(RowReader):
    """Reads labels aside, and fills the caller's memory with their codes."""

    def __init__(self, stored: RowReader, labels: Labels) -> None:
        super().__init__(stored.name, stored.where, stored.shape, stored.chunks)
        self.stored, self.labels = stored, labels
        self.parts = (stored,)

    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill `out` with codes; what is missing stays NaN.

        Raises
        ------
        InputError
            If nobody has looked which labels there are.
        DataError
            If a row has a label that is none of them.
        """
        labels, noted = self.labels, list[BadChunkError]()
        if not labels.names:
            raise InputError(
                f"array {self.name} of {self.where} is text, whose labels are found where a model "
                "that predicts labels is trained; name another array"
            )
        rows = np.concatenate([np.arange(start, stop) for start, stop in runs])
        values = np.zeros((len(rows), *self.shape[1:]), labels.stored)
        self.stored.read_runs(runs, values, None if bad is None else noted)
        codes, found = labels.codes(values).reshape(len(rows), -1), out[: len(rows)]
        unknown = (codes < 0) & (values == values).reshape(codes.shape)
        for one in noted:
            first, last = one.rows
            unknown[(rows >= first) & (rows <= last)] = False
        if unknown.any():
            place = int(np.argmax(unknown.any(axis=1)))
            label = values.reshape(codes.shape)[place][unknown[place]][0]
            raise DataError(
                f"row {rows[place]} of {self.name} in {self.where} has the label {label!s}, which "
                f"is none of the {len(labels.names)}: {listed(labels.names)}; correct the row, or "
                "train on data that have all labels"
            )
        found[...] = codes.reshape(values.shape)
        if labels.dtype.kind == "f":
            found[values != values] = np.nan
        if bad is not None:
            for one in noted:
                bad.append(one)
