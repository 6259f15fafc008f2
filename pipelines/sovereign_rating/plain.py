"""Plain methods on the figures of a month: ordered logit, and gradient boosting."""

import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

MOST = 6_000  # months that they learn from: more take long, and tell them nothing new
ITERATIONS = 60  # of gradient boosting
LEAST_NORM = 1e-6  # of a column's part that those before it do not have

# Figures (rows, figures) and labels (rows,) to learn from, how many classes there are, and figures
# to forecast from -> for each of these how likely every class is, (rows, classes).
Method = Callable[[np.ndarray, np.ndarray, int, Sequence[np.ndarray]], list[np.ndarray]]


def ordered_logit(
    figures: np.ndarray, labels: np.ndarray, classes: int, judged: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return forecasts of an ordered logit (McCullagh 1980), by statsmodels; see `Method`.

    What is missing counts as the mean, and a column tells that it is.
    """
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    some = _some(len(labels))
    missing = np.isnan(figures)
    filled = np.where(missing, 0.0, figures)
    counts = np.maximum((~missing).sum(axis=0), 1)
    mean = filled.sum(axis=0, dtype=np.float64) / counts
    squares = (np.where(missing, 0.0, figures - mean) ** 2).sum(axis=0, dtype=np.float64)
    spread = np.sqrt(squares / counts)
    spread[spread == 0] = 1.0

    def columns(given: np.ndarray) -> np.ndarray:
        lacks = np.isnan(given)
        return np.concatenate([np.where(lacks, 0.0, (given - mean) / spread), lacks], axis=1)

    matrix = columns(figures[some])
    kept = _independent(matrix)
    occurring, codes = np.unique(labels[some], return_inverse=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of stopping before the last digit
        model = OrderedModel(codes, matrix[:, kept], distr="logit")
        fitted = model.fit(method="bfgs", maxiter=60, disp=0)
        found = []
        for given in judged:
            likely = np.zeros((len(given), classes))
            likely[:, occurring] = model.predict(fitted.params, columns(given)[:, kept])
            found.append(likely)
    return found


def gradient_boosting(
    figures: np.ndarray, labels: np.ndarray, classes: int, judged: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return forecasts of gradient boosting (Friedman 2001), by scikit-learn; see `Method`."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    some = _some(len(labels))
    model = HistGradientBoostingClassifier(
        max_iter=ITERATIONS, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=50,
        l2_regularization=5.0, early_stopping=False, random_state=0,
    )  # fmt: skip
    found = []
    # On few cores its threads wait for each other longer than they work.
    with threadpool_limits(1):
        model.fit(figures[some], labels[some])
        for given in judged:
            likely = np.zeros((len(given), classes))
            likely[:, model.classes_] = model.predict_proba(given)
            found.append(likely)
    return found


METHODS: dict[str, Method] = {
    "ordered logit (statsmodels)": ordered_logit,
    "gradient boosting (scikit-learn)": gradient_boosting,
}


def timed(
    method: Method,
    figures: np.ndarray,
    labels: np.ndarray,
    classes: int,
    judged: Sequence[np.ndarray],
) -> tuple[list[np.ndarray], float]:
    """Return forecasts, and the seconds that learning and forecasting took."""
    begun = time.perf_counter()
    found = method(figures, labels, classes, judged)
    return found, time.perf_counter() - begun


def _some(rows: int) -> slice:
    return slice(None, None, max(1, -(-rows // MOST)))


def _independent(matrix: np.ndarray) -> np.ndarray:
    """Return which columns are neither the same in every row nor a sum of those before them."""
    from scipy.linalg import qr

    centred = matrix - matrix.mean(axis=0)
    sizes = np.abs(np.diag(qr(centred, mode="r")[0]))
    found: np.ndarray = np.flatnonzero(sizes > LEAST_NORM * max(1.0, sizes.max()))
    return found
