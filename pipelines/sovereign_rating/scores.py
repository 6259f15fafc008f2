"""How good forecasts of ratings are: every method is judged by the same numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ooc.metrics.ordinal import ORDINAL
from pipelines.common.table import Table

SMALLEST = 1e-6  # what a method calls impossible still has so much


@dataclass(frozen=True)
class Forecast:
    """What a method expects.

    Attributes
    ----------
    likely
        (months, notches) how likely each rating is.
    seconds
        Of learning; None where nothing is learned.
    """

    name: str
    likely: np.ndarray
    seconds: float | None = None


@dataclass(frozen=True)
class Score:
    """How good a forecast is.

    Attributes
    ----------
    exact, within_one, within_two
        Shares of months whose rating is so near to the likeliest one, in notches.
    kappa
        With quadratic weights; NaN where every rating is the same.
    change_auc
        Area under the ROC curve of a rating that is another one at the end of twelve months; NaN
        where all are, or none.
    log_loss
        Mean, in nats.
    """

    exact: float
    within_one: float
    within_two: float
    kappa: float
    change_auc: float
    log_loss: float


def score(likely: np.ndarray, ratings: np.ndarray, true: np.ndarray) -> Score:
    """Judge a forecast of months.

    Parameters
    ----------
    likely
        (months, notches).
    ratings, true
        (months,) the rating when the forecast is made, and the one that it is of.

    Examples
    --------
    >>> stays = np.eye(3)[[0, 1, 2]]
    >>> score(stays, np.array([0, 1, 2]), np.array([0, 1, 0])).exact
    0.6666666666666666
    """
    from sklearn.metrics import roc_auc_score

    notches, rows = likely.shape[1], np.arange(len(true))
    matrix = np.zeros((notches, notches))
    np.add.at(matrix, (true, likely.argmax(axis=1)), 1.0)
    distances = ORDINAL.values(matrix.ravel())
    changed = true != ratings
    auc = np.nan
    if changed.any() and not changed.all():
        auc = roc_auc_score(changed, 1 - likely[rows, ratings])
    kappa = distances["quadratic_weighted_kappa"]
    return Score(
        float(np.trace(matrix) / matrix.sum()),
        distances["within_one"],
        distances["within_two"],
        np.nan if kappa is None else kappa,
        float(auc),
        float(-np.log(np.maximum(likely[rows, true], SMALLEST)).mean()),
    )


def ratings_from_movements(likely: np.ndarray, ratings: np.ndarray, notches: int) -> np.ndarray:
    """Return how likely each rating is, of how likely each movement is.

    Parameters
    ----------
    likely
        (months, movements), the middle one of which is none.
    ratings
        (months,) from which it moves; what would leave the scale stays at its end.

    Returns
    -------
    numpy.ndarray
        (months, notches).

    Examples
    --------
    >>> ratings_from_movements(np.array([[0.2, 0.5, 0.3]]), np.array([0]), 3)
    array([[0.7, 0.3, 0. ]])
    """
    found = np.zeros((len(ratings), notches))
    rows, largest = np.arange(len(ratings)), likely.shape[1] // 2
    for place in range(likely.shape[1]):
        found[rows, np.clip(ratings + place - largest, 0, notches - 1)] += likely[:, place]
    return found


def interval_of(likely: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest rating of the middle share, both among it, (months,).

    Examples
    --------
    >>> interval_of(np.array([[0.05, 0.25, 0.65, 0.05]]), 0.8)
    (array([1]), array([2]))
    """
    ends, last = np.cumsum(likely, axis=1), likely.shape[1] - 1
    low, high = (np.minimum((ends < tail).sum(axis=1), last) for tail in
                 ((1 - share) / 2, (1 + share) / 2))  # fmt: skip
    return low, high


def persistence(ratings: np.ndarray, notches: int) -> Forecast:
    """Return the forecast that nothing changes, which beats most published models."""
    return Forecast("last rating", np.eye(notches)[ratings])


def table_of(title: str, forecasts: Sequence[Forecast], scores: Sequence[Score]) -> Table:
    """Return scores side by side."""
    rows = []
    for forecast, each in zip(forecasts, scores, strict=True):
        numbers = [f"{100 * share:.1f}%" for share in (each.exact, each.within_one,
                                                       each.within_two)]  # fmt: skip
        numbers += [f"{each.kappa:.4f}", f"{each.change_auc:.3f}"]
        # What is certain of all that it says has no log loss to speak of.
        certain = bool((forecast.likely.max(axis=1) == 1).all())
        numbers.append("" if certain else f"{each.log_loss:.4f}")
        numbers.append("" if forecast.seconds is None else f"{forecast.seconds:.1f}")
        rows.append((forecast.name, *numbers))
    head = ("", "exact", "within 1", "within 2", "kappa", "change AUROC", "log loss", "seconds")
    return Table(title, head, tuple(rows))


def to_json(forecasts: Sequence[Forecast], scores: Sequence[Score]) -> list[dict[str, object]]:
    """Return names and numbers."""
    return [
        {"name": forecast.name, "seconds": forecast.seconds, **asdict(each)}
        for forecast, each in zip(forecasts, scores, strict=True)
    ]
