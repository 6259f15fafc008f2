"""A bag of embeddings, whose batches touch some rows of a table; with a twin in NumPy."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ooc.kernels.counters import OK
from ooc.kernels.share import TOUCHED, Numbers, Output, Share
from ooc.models.contract import Layout
from ooc.models.declarations import Kernel, Needs

IDS, WIDTH = 3, 2


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Half the squared error of w . (sum of a row's embeddings)."""
    base, gradient, touched = numbers.integers[0], output.gradient, output.touched
    count, loss = 0, 0.0
    gradient[:] = 0.0
    for r in range(share.integers.shape[0]):
        score = 0.0
        for i in range(share.integers.shape[1]):
            row = share.integers[r, i] - base
            for j in range(2):
                score += parameters[j] * parameters[2 + 2 * row + j]
        error = score - share.targets[r, 0]
        loss += 0.5 * error * error
        for i in range(share.integers.shape[1]):
            row, place = share.integers[r, i] - base, 0
            while place < count and touched[place] != row:
                place += 1
            if place == count:
                touched[count] = row
                count += 1
            for j in range(2):
                gradient[j] += error * parameters[2 + 2 * row + j]
                gradient[2 + 2 * place + j] += error * parameters[j]
    output.terms[0], output.report[TOUCHED] = loss, count
    return OK


@dataclass(frozen=True)
class Bag:
    rows: int = 30
    base: int = 2**60  # of the identifiers, which no float tells apart

    name: ClassVar[str] = "bag"
    needs_target: ClassVar[bool] = True
    dtype: ClassVar[Any] = np.float64
    needs: ClassVar[Needs] = Needs(features="integers")

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        return Layout({"w": (WIDTH,), "table": (self.rows, WIDTH)}, touched="table")

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        integers = np.array([self.base], np.int64)
        return Kernel(accumulate, np.empty(0), integers, touched_values=IDS)

    def twin(
        self, parameters: np.ndarray, x: np.ndarray, y: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return summed loss and mean gradient of all parameters."""
        rows, w = x.astype(np.int64) - self.base, parameters[:WIDTH]
        table = parameters[WIDTH:].reshape(-1, WIDTH)
        error = table[rows].sum(axis=1) @ w - y
        by_table = np.zeros_like(table)
        for place in range(IDS):
            np.add.at(by_table, rows[:, place], error[:, None] * w)
        by_w = error @ table[rows].sum(axis=1)
        return 0.5 * float(error @ error), np.concatenate([by_w, by_table.ravel()]) / len(x)
