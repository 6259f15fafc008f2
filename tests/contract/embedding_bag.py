"""Identifiers beside features: an embedding bag whose table is updated only where it is touched.

A row has some dense features and several identifiers. An identifier's hash picks a row of a table;
the sum of those rows, times weights, is added to a linear score of the features. Identifiers stay
integers all the way: above 2^24, float32 would take many of them for one. Of the table a batch
touches a few rows, and the optimizer's step is for them alone.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.core.compiler import lean_kernel, like
from ooc.core.hashing import GOLDEN, keys_of, mix
from ooc.kernels.counters import BAD_TARGET, NOT_FINITE, OK
from ooc.kernels.share import BAD, TOUCHED, Numbers, Output, Share
from ooc.metrics.measured import Measured, label_answers, measured
from ooc.models.compiled import CompiledModel
from ooc.models.contract import BatchLike, Layout, check_target_size
from ooc.models.declarations import Kernel, Needs, dtype_of


@dataclass(frozen=True)
class EmbeddingBag(CompiledModel):
    """Labels 0 and 1 from features and from the identifiers in the array "ids".

    Attributes
    ----------
    ids
        Identifiers of a row of data.
    rows, width
        Of the table.
    """

    ids: int = 4
    rows: int = 1024
    width: int = 4
    name: ClassVar[str] = "embedding_bag"
    targets: ClassVar[str] = "labels 0 and 1"
    needs_target = True
    needs = Needs(integers=("ids",))

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return coefficients, intercept and weights of the bag, and the table behind them."""
        shapes = {
            "coefficients": (math.prod(row_shape),),
            "intercept": (1,),
            "weights": (self.width,),
            "table": (self.rows, self.width),
        }
        return Layout(shapes, frozenset({"intercept"}), touched="table")

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return small normal rows of the table, and weights of 1."""
        parameters = np.zeros(layout.size, dtype_of(self))
        views = layout.views(parameters)
        views["weights"][:] = 1
        views["table"][:] = 0.1 * generator.standard_normal(views["table"].shape)
        return parameters

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return what the window loop calls."""
        return Kernel(
            accumulate,
            np.empty(0),
            np.array([self.rows, self.width]),
            most_rows=64,
            own_values=self.width,
            touched_values=self.ids,
        )

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Refuse targets that are not one number a row."""
        check_target_size(self.name, shape, 1)

    def places(self, ids: np.ndarray) -> np.ndarray:
        """Return the rows of the table that identifiers pick, in an array of the same shape."""
        keys = keys_of(np.ascontiguousarray(ids, np.int64).reshape(-1), 0)
        return (keys % np.uint64(self.rows)).astype(np.int64).reshape(ids.shape)

    def scores(self, parameters: np.ndarray, batch: BatchLike) -> np.ndarray:
        """Return log-odds of label 1, (rows,)."""
        x = batch.features.reshape(len(batch.rows), -1)
        views = self.layout(batch.features.shape[1:]).views(parameters)
        bags = views["table"][self.places(batch.arrays["ids"])].sum(axis=1)
        return x @ views["coefficients"] + views["intercept"] + bags @ views["weights"]

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the sums of loss and right labels over a batch."""
        scores, labels = self.scores(parameters, batch), np.asarray(batch.target, np.float32)
        loss = (np.logaddexp(0, scores) - labels * scores).sum()
        none = np.empty(0)
        return measured(
            float(loss), len(scores), none, label_answers(scores[:, None], labels, none)
        )

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Refuse: features are not enough."""
        raise NotImplementedError("identifiers are needed, too: see predict_batch")

    def predict_batch(self, parameters: np.ndarray, batch: BatchLike) -> dict[str, np.ndarray]:
        """Return the likelier label, and the log-odds of label 1."""
        scores = self.scores(parameters, batch)
        return {"prediction": (scores > 0).astype(np.int64), "log_odds": scores}


@lean_kernel
def place_of(identifier: int, rows: int) -> int:
    """Return the row of the table that an identifier picks."""
    return np.int64(mix(np.uint64(identifier + 1) * GOLDEN) % np.uint64(rows))


@lean_kernel
def slot_of(row: int, touched: np.ndarray, report: np.ndarray) -> int:
    """Return where a row is among those that the share has touched; it becomes the last of them."""
    for k in range(report[TOUCHED]):
        if touched[k] == row:
            return k
    touched[report[TOUCHED]] = row
    report[TOUCHED] += 1
    return report[TOUCHED] - 1


@lean_kernel
def derivative(score: float, label: float) -> tuple[float, float]:
    """Return the loss of a score, and its derivative."""
    small = math.exp(-abs(score))
    likely = (1.0 if score >= 0 else small) / (1.0 + small)
    return max(score, 0.0) + math.log1p(small) - label * score, likely - label


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share: of the dense parts, and behind it of rows of the table."""
    table_rows, width = numbers.integers[0], numbers.integers[1]
    rows, features = share.features.shape
    first = features + 1
    dense, bag = first + width, own[:width]
    weights, table = parameters[first:dense], parameters[dense:].reshape((table_rows, width))
    touched = output.gradient[dense:].reshape((output.touched.size, width))
    output.gradient[:dense] = 0
    output.terms[:] = 0
    output.report[TOUCHED] = 0
    for r in range(rows):
        score = np.float64(parameters[features])
        for j in range(features):
            score += share.features[r, j] * parameters[j]
        bag[:] = 0
        for k in range(share.integers.shape[1]):
            row = place_of(share.integers[r, k], table_rows)
            for j in range(width):
                bag[j] += table[row, j]
        for j in range(width):
            score += bag[j] * weights[j]
        label = np.float64(share.targets[r, 0])
        if label != 0 and label != 1:
            output.report[BAD] = r
            return BAD_TARGET
        loss, slope = derivative(score, label)
        if not math.isfinite(loss):
            output.report[BAD] = r
            return NOT_FINITE
        output.terms[0] += loss
        by_score = like(slope, parameters[0])
        output.gradient[features] += by_score
        for j in range(features):
            output.gradient[j] += by_score * share.features[r, j]
        for j in range(width):
            output.gradient[first + j] += by_score * bag[j]
        for k in range(share.integers.shape[1]):
            known = output.report[TOUCHED]
            row = place_of(share.integers[r, k], table_rows)
            slot = slot_of(row, output.touched, output.report)
            if slot == known:
                touched[slot] = 0
            for j in range(width):
                touched[slot, j] += by_score * weights[j]
    return OK
