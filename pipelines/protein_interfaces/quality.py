"""How near made rows are to held-out rows: measures that know nothing of who made them.

The critic's loss is none of them. What decides, such as the classifier of classes, is fitted to
training rows; what is compared, to held-out rows. Every measure has its value for real rows beside
it: other held-out rows in place of made ones.
"""

import math
from dataclasses import dataclass

import numpy as np

from ooc.core.random_keys import Purpose, generator
from pipelines.protein_interfaces.columns import CLASSES, is_stable
from pipelines.protein_interfaces.coordinates import Coordinates

NEIGHBOURS = 5
SEEDS = 7, 11  # of what is drawn within cells, of rows that are compared
PIECE = 2048


@dataclass(frozen=True)
class Rows:
    """Rows and their classes.

    Attributes
    ----------
    values
        (rows, 64) float32.
    labels
        (rows,) uint8: of made rows those that were asked for.
    """

    values: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: slice) -> "Rows":
        return Rows(self.values[which], self.labels[which])


@dataclass(frozen=True)
class Judge:
    """What rows are judged by.

    Attributes
    ----------
    coordinates
        In which distances are measured.
    known
        Training rows, that recognise classes, and of which nothing should be a copy.
    real, others
        Held-out rows, as many each.
    shares
        (9,) of the classes, as they are known.
    recogniser
        A linear discriminant of coordinates, fitted to training rows.
    """

    coordinates: Coordinates
    known: Rows
    real: Rows
    others: Rows
    shares: np.ndarray
    recogniser: object

    def of(self, rows: np.ndarray, which: int = 0) -> np.ndarray:
        """Return the coordinates of rows, (rows, 59) float32."""
        return self.coordinates.of_rows(rows, SEEDS[which]).astype(np.float32)


@dataclass(frozen=True)
class Quality:
    """What is measured of made rows.

    Attributes
    ----------
    shares
        (9,) of the classes that are recognised in them.
    agreement
        Share of rows in which the class that was asked for is recognised.
    accuracy
        Of a classifier that is to tell made from held-out rows; 0.5 is chance.
    mmd
        Maximum mean discrepancy from held-out rows.
    precision, recall
        Share of made rows within the manifold of held-out rows, and of those within theirs.
    nearer
        Share of made rows whose nearest neighbour is a training row, not one of as many held-out.
    copies
        Made rows that are a training row.
    stable
        Share of stable ones among those asked for; NaN where nobody asked.
    """

    shares: np.ndarray
    agreement: float
    accuracy: float
    mmd: float
    precision: float
    recall: float
    nearer: float
    copies: int
    stable: float = math.nan

    def worst_share(self, shares: np.ndarray) -> float:
        """Return the largest difference from known shares, in points."""
        return float(100 * np.abs(self.shares - shares).max())

    def modes(self, shares: np.ndarray) -> int:
        """Return how many classes have at least half of their share."""
        return int(np.count_nonzero(self.shares >= shares / 2))


def judge_of(coordinates: Coordinates, known: Rows, held_out: Rows, shares: np.ndarray) -> Judge:
    """Return what rows are judged by; held-out rows are divided in two halves."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    points = coordinates.of_rows(known.values, SEEDS[0])
    recogniser = LinearDiscriminantAnalysis().fit(points, known.labels)
    half = len(held_out) // 2
    return Judge(coordinates, known, held_out[:half], held_out[half : 2 * half], shares, recogniser)


def measure(
    judge: Judge, made: Rows, stable: np.ndarray | None = None, most: int = 5000
) -> Quality:
    """Measure made rows, as many as `judge.real` has; `most` of them where it is all pairs.

    Parameters
    ----------
    stable
        (rows,) bool, which of them were to be stable.
    """
    points, real = judge.of(made.values, 1), judge.of(judge.real.values)
    seen = recognise(judge, points)
    few = slice(most)
    asked = math.nan if stable is None else float(is_stable(made.values)[stable].mean())
    known = judge.of(judge.known.values[: len(real)])
    nearest = [nearest_distances(points[few], each, 1)[:, 0] for each in (known, real)]
    copies = set(map(bytes, judge.known.values)) & set(map(bytes, made.values))
    return Quality(
        np.bincount(seen, minlength=len(CLASSES)) / len(made),
        float(np.mean(seen == made.labels)),
        two_sample_accuracy(judge.real, made),
        discrepancy(real[few], points[few]),
        coverage(real[few], points[few]),
        coverage(points[few], real[few]),
        float(np.mean(nearest[0] < nearest[1])),
        len(copies),
        asked,
    )


def recognise(judge: Judge, points: np.ndarray) -> np.ndarray:
    """Return the classes that are recognised in coordinates, (rows,)."""
    found: np.ndarray = judge.recogniser.predict(points)  # type: ignore[attr-defined]
    return found


def two_sample_accuracy(real: Rows, made: Rows, seed: int = 0) -> float:
    """Return how often a classifier tells which rows were made (Lopez-Paz and Oquab 2017).

    Boosted trees see rows and classes of two thirds, and are asked about the others.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    count = min(len(real), len(made))
    x = np.concatenate([
        np.column_stack([each.values[:count], each.labels[:count]]) for each in (real, made)
    ])  # fmt: skip
    y = np.repeat([0, 1], count)
    order = generator(seed, Purpose.SPLIT).permutation(count)
    cut = 2 * count // 3
    taught, asked = (np.concatenate([part, part + count]) for part in (order[:cut], order[cut:]))
    trees = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.1, max_leaf_nodes=15, random_state=0
    )
    # Two threads of OpenMP that wait for each other on a busy machine take ten times as long.
    with threadpool_limits(1, user_api="openmp"):
        return float(trees.fit(x[taught], y[taught]).score(x[asked], y[asked]))


def discrepancy(one: np.ndarray, other: np.ndarray) -> float:
    """Return the maximum mean discrepancy (Gretton et al. 2012), biased: never negative.

    The kernel is Gaussian, as wide as the median distance within the first sample.
    """
    sample = one[: min(len(one), 1000)]
    width = np.median(squares(sample, sample)[np.triu_indices(len(sample), 1)])

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        total = 0.0
        for first in range(0, len(a), PIECE):
            kernel = np.exp(-squares(a[first : first + PIECE], b) / width)
            total += float(kernel.sum(dtype=np.float64))
        return total / len(a) / len(b)

    return math.sqrt(max(mean(one, one) + mean(other, other) - 2 * mean(one, other), 0.0))


def coverage(manifold: np.ndarray, points: np.ndarray) -> float:
    """Return the share of points within a manifold (Kynkaanniemi et al. 2019).

    The manifold is made of balls around its own points, which reach to their fifth neighbour.
    """
    radii = nearest_distances(manifold, manifold, NEIGHBOURS + 1)[:, -1]
    found = [
        (squares(points[first : first + PIECE], manifold) <= radii).any(axis=1)
        for first in range(0, len(points), PIECE)
    ]
    return float(np.concatenate(found).mean())


def nearest_distances(points: np.ndarray, among: np.ndarray, count: int) -> np.ndarray:
    """Return squared distances to the nearest of others, ascending: (points, count)."""
    found = []
    for first in range(0, len(points), PIECE):
        distances = squares(points[first : first + PIECE], among)
        distances.partition(count - 1, axis=1)
        found.append(np.sort(distances[:, :count], axis=1))
    return np.concatenate(found)


def squares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return squared distances, (rows, other rows) float32."""
    found: np.ndarray = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.maximum(found, 0, out=found)
