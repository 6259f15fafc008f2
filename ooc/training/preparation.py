"""What a model needs to know of all rows before it is trained: moments, and counts of classes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from ooc.core.errors import DataError
from ooc.models.classification import BALANCED, LinearClassifier
from ooc.models.contract import Model
from ooc.models.linear import LinearFamily, as_float32
from ooc.store.columns import pieces_of
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader
from ooc.stream.reader import Window

# A window is cut into so many parts, whose moments are merged in their order: how many threads
# there are makes no difference.
PARTS = 8
THREADS = 2
PIECE_BYTES = 2**20
AUTO = "auto"
# Features whose deviations differ by more than this, or whose means lie further from 0 than this
# many deviations, are standardised where that is left to the data.
MOST_SPREAD = 8.0
MOST_OFFSET = 2.0


def with_counted_classes(model: Model, dataset: Dataset) -> Model:
    """Return the model with numbers for balanced class weights: N / (C n_c), from one count.

    Raises
    ------
    DataError
        If a class has no rows, or a label is none of the classes.
    """
    if not isinstance(model, LinearClassifier) or model.class_weights != BALANCED:
        return model
    counts = np.zeros(model.class_count, np.int64)
    name, selection = str(dataset.target), dataset.selection
    names = dict.fromkeys([name, *(selection.arrays if selection else ())])
    for first, stop, arrays in pieces_of(dataset, list(names)):
        labels = as_float32(arrays[name])
        if selection is not None:
            labels = labels[selection.contains(first, stop, arrays)]
        whole = (labels >= 0) & (labels < len(counts)) & (labels == np.floor(labels))
        if not whole.all():
            row = first + int(np.argmin(whole))
            raise DataError(
                f"row {row} has target {labels[row - first]}, but {model.name} takes "
                f"{model.targets}; correct the row, or choose another model"
            )
        counts += np.bincount(labels.astype(np.int64), minlength=len(counts))
    if not counts.all():
        raise DataError(
            f"class {int(np.argmin(counts))} has no rows in {dataset.path}, so that classes cannot "
            "be balanced; give class_weights as numbers"
        )
    weights = counts.sum() / (len(counts) * counts.astype(np.float64))
    return replace(model, class_weights=tuple(weights.tolist()))


def decided(model: Model, loader: Loader) -> Model:
    """Return the model with a yes or no where standardising was left to the data.

    The first window of the run is looked at.
    """
    if not isinstance(model, LinearFamily) or model.standardise != AUTO:
        return model
    for window in loader.looked_at():
        mean, deviation = _finished(_window_moments(window, loader.dataset.features, window.order))
        used = deviation > 0
        # The intercept's feature is 1 in every row.
        scales = abs(model.scale) * deviation[used]
        scales = np.append(scales, 1.0) if model.intercept else scales
        spread = scales.max() / scales.min() if len(scales) else 1.0
        offset = np.abs(mean[used] / deviation[used]).max() if used.any() else 0.0
        needed = not np.isfinite(spread) or spread > MOST_SPREAD or offset > MOST_OFFSET
        return replace(model, standardise=bool(needed))
    raise AssertionError("an epoch has a window")


def fill_standardisation(model: Model, loader: Loader, parameters: np.ndarray) -> None:
    """Write each feature's mean and deviation into the parameters, from one streamed pass.

    Parameters
    ----------
    loader
        Of the rows, in any order, once.
    parameters
        (P,) float32; unchanged where the model does not standardise.

    Raises
    ------
    DataError
        If a value is not finite; its row is named.
    """
    if not isinstance(model, LinearFamily) or not model.standardise:
        return
    features, total = loader.dataset.features, None
    for window in loader.windows(1):
        found = _window_moments(window, features, window.order)
        if not np.isfinite(found).all():
            raise _bad_row(window, features)
        total = found if total is None else merge_moments(total, found)
    assert total is not None, "an epoch has a window"
    mean, deviation = _finished(total)
    shape = loader.dataset.row_shape
    views = model.layout(shape).views(parameters)
    views["feature_mean"][:] = model.scale * mean
    views["feature_deviation"][:] = abs(model.scale) * deviation


def _window_moments(window: Window, features: str, order: np.ndarray) -> np.ndarray:
    """Return (3, F) float64: count, mean and summed squared distance from it, of these rows."""
    rows = window.arrays[features].reshape(len(window.arrays[features]), -1)
    work = partial(_moments_of, rows)
    parts = [part for part in np.array_split(order, PARTS) if len(part)]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(work, parts))
    total = found[0]
    for one in found[1:]:
        total = merge_moments(total, one)
    return total


def _moments_of(rows: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the moments of some rows, taken a few at a time."""
    step = max(1, PIECE_BYTES // (8 * rows.shape[1]))
    total = None
    for first in range(0, len(order), step):
        values = rows.take(order[first : first + step], axis=0).astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            mean = values.mean(axis=0)
            np.subtract(values, mean, out=values)
            squares = np.einsum("ij,ij->j", values, values)
        found = np.stack([np.full_like(mean, len(values)), mean, squares])
        total = found if total is None else merge_moments(total, found)
    assert total is not None, "there are rows"
    return total


def merge_moments(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the moments of two sets of rows together (Chan, Golub and LeVeque 1983).

    Parameters
    ----------
    one, other
        (3, F) float64: count, mean, and summed squared distance from the mean.

    Examples
    --------
    >>> two, four = np.array([[1.0], [2.0], [0.0]]), np.array([[1.0], [4.0], [0.0]])
    >>> merge_moments(two, four).ravel()
    array([2., 3., 2.])
    """
    count, distance = one[0] + other[0], other[1] - one[1]
    share = other[0] / count
    squares = one[2] + other[2] + distance**2 * one[0] * share
    return np.stack([count, one[1] + distance * share, squares])


def _finished(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count, mean, squares = moments
    return mean, np.sqrt(squares / count)


def _bad_row(window: Window, features: str) -> DataError:
    values = window.arrays[features][window.order].reshape(len(window.order), -1)
    finite = np.isfinite(values)
    place, column = np.argwhere(~finite)[0].tolist()
    row = int(window.rows(window.order[place : place + 1].astype(np.int64))[0])
    return DataError(
        f"row {row} has {values[place, column]} in feature {column}; remove or fill such rows first"
    )
