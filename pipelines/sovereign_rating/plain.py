"""Plain methods on the figures of a month: ordered logit, and gradient boosting."""

import time
import warnings
from collections.abc import Mapping

import numpy as np

from pipelines.sovereign_rating.scores import Forecast, ratings_from_movements

MOST = 12_000  # months that they learn from: more take long, and tell them nothing new
ITERATIONS = 60  # of gradient boosting


def ordered_logit(
    figures: np.ndarray,
    labels: np.ndarray,
    classes: int,
    judged: Mapping[str, tuple[np.ndarray, np.ndarray]],
    notches: int,
) -> dict[str, Forecast]:
    """Return forecasts of an ordered logit (McCullagh 1980), by statsmodels.

    Parameters
    ----------
    figures, labels
        (months, figures) with NaN, and (months,) classes of movements, to learn from.
    judged
        By name, figures (months, figures) and ratings (months,) to forecast from.
    """
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    begun = time.perf_counter()
    some = _some(len(labels))
    mean, spread = np.nanmean(figures, axis=0), np.maximum(np.nanstd(figures, axis=0), 1e-6)
    # A column that says the same everywhere would be another threshold.
    lacks = np.isnan(figures[some]).any(axis=0)

    def columns(given: np.ndarray) -> np.ndarray:
        missing = np.isnan(given)
        filled = np.where(missing, 0.0, (given - mean) / spread)
        return np.concatenate([filled, missing[:, lacks]], axis=1, dtype=np.float64)

    occurring, codes = np.unique(labels[some], return_inverse=True)
    matrix = columns(figures[some])
    varied = _independent(matrix)
    model = OrderedModel(codes, matrix[:, varied], distr="logit")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it stops before the last digit
        fitted = model.fit(method="bfgs", maxiter=60, disp=0)
    seconds = time.perf_counter() - begun
    found = {}
    for name, (given, ratings) in judged.items():
        likely = np.zeros((len(given), classes))
        likely[:, occurring] = fitted.model.predict(fitted.params, columns(given)[:, varied])
        spreaded = ratings_from_movements(likely, ratings, notches)
        found[name] = Forecast("ordered logit (statsmodels), figures", spreaded, seconds)
    return found


def gradient_boosting(
    figures: np.ndarray,
    labels: np.ndarray,
    classes: int,
    judged: Mapping[str, tuple[np.ndarray, np.ndarray]],
    notches: int,
) -> dict[str, Forecast]:
    """Return forecasts of gradient boosting (Friedman 2001), by scikit-learn; as above."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    begun = time.perf_counter()
    some = _some(len(labels))
    model = HistGradientBoostingClassifier(
        max_iter=ITERATIONS, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=50,
        l2_regularization=5.0, early_stopping=False, random_state=0,
    ).fit(figures[some], labels[some])  # fmt: skip
    seconds = time.perf_counter() - begun
    found = {}
    for name, (given, ratings) in judged.items():
        likely = np.zeros((len(given), classes))
        likely[:, model.classes_] = model.predict_proba(given)
        spreaded = ratings_from_movements(likely, ratings, notches)
        found[name] = Forecast("gradient boosting (scikit-learn), figures", spreaded, seconds)
    return found


def _some(rows: int) -> slice:
    return slice(None, None, max(1, -(-rows // MOST)))


def _independent(matrix: np.ndarray) -> np.ndarray:
    """Return which columns are no sum of those before them, nor the same in every row."""
    from scipy.linalg import qr

    centred = matrix - matrix.mean(axis=0)
    kept = list[int]()
    diagonal = np.abs(np.diag(qr(centred, mode="r")[0]))
    for place, size in enumerate(diagonal):
        if size > 1e-8 * max(1.0, diagonal.max()):
            kept.append(place)
    return np.array(kept)
