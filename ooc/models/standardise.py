"""Features and targets with mean 0 and deviation 1: measured before training, applied on the way.

A mean is kept as the sum of two numbers of the parameter vector, so that it is exact far from zero.
"""

import numpy as np

from ooc.kernels.rows import gather_rows
from ooc.models.contract import Layout, Statistics
from ooc.models.declarations import Standardisation

AUTO = "auto"
# Features whose deviations differ by more than this, or whose means lie further from 0 than this
# many deviations, are standardised where that is left to the data.
MOST_SPREAD = 8.0
MOST_OFFSET = 2.0
# Targets are, where their mean lies as far from 0, or their deviation is not within this factor
# of 1: parameters begin near 0 and 1, and a step of Adam is as long as its learning rate.
MOST_TARGET_SPREAD = 10.0
# Parts of a layout that hold what was measured: a mean, the rest of it, and a deviation.
FEATURES = ("feature_mean", "feature_mean_rest", "feature_deviation")
TARGETS = ("target_mean", "target_mean_rest", "target_deviation")


def standard_parts(features: int) -> dict[str, tuple[int, ...]]:
    """Return the parts of a layout that hold what was measured of features."""
    return dict.fromkeys(FEATURES, (features,))


def target_parts(targets: int) -> dict[str, tuple[int, ...]]:
    """Return those of targets, which have one deviation: a row's loss stays a sum over them."""
    return dict(zip(TARGETS, ((targets,), (targets,), (1,)), strict=True))


def is_needed(statistics: Statistics, scale: float, has_intercept: bool) -> bool:
    """Tell from a sample of rows whether features differ so much that they should be alike."""
    mean, deviation = statistics.sample_moments()
    used = deviation > 0
    # An intercept's feature is 1 in every row.
    scales = abs(scale) * deviation[used]
    scales = np.append(scales, 1.0) if has_intercept else scales
    spread = scales.max() / scales.min() if len(scales) else 1.0
    offset = np.abs(mean[used] / deviation[used]).max() if used.any() else 0.0
    return bool(not np.isfinite(spread) or spread > MOST_SPREAD or offset > MOST_OFFSET)


def is_target_far(statistics: Statistics, has_intercept: bool = True) -> bool:
    """Tell from a sample of rows whether targets lie far from 0, or spread unlike 1.

    Without an intercept a model is to go through 0: then they are not shifted, and may lie far.
    """
    mean, deviation = statistics.target_sample_moments()
    mean, common = mean * has_intercept, _common(deviation)
    if not np.isfinite([*mean, common]).all():
        return False  # the row to blame is found in training
    if common == 0:
        return bool(np.abs(mean).max() > MOST_TARGET_SPREAD)
    near = 1 / MOST_TARGET_SPREAD <= common <= MOST_TARGET_SPREAD
    return not near or bool(np.abs(mean).max() > MOST_OFFSET * common)


def measured_parts(statistics: Statistics) -> dict[str, np.ndarray]:
    """Return the values of the parts, from one pass over all rows."""
    return _split(FEATURES, *statistics.moments())


def measured_target_parts(statistics: Statistics, has_intercept: bool) -> dict[str, np.ndarray]:
    """Return the values of the parts of targets, from one pass over them."""
    mean, deviation = statistics.target_moments()
    return _split(TARGETS, mean * has_intercept, np.array([_common(deviation)]))


def _split(
    names: tuple[str, ...], mean: np.ndarray, deviation: np.ndarray
) -> dict[str, np.ndarray]:
    near = mean.astype(np.float32)
    return dict(zip(names, (near, mean - near, deviation), strict=True))


def _common(deviations: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(deviations))))


def standardisation(layout: Layout, parameters: np.ndarray, scale: float) -> Standardisation:
    """Return how features come to a model whose vector this is; `scale` where it has no parts."""
    return _applied(FEATURES, layout, parameters, scale)


def target_standardisation(layout: Layout, parameters: np.ndarray) -> Standardisation:
    """Return how targets come to a model whose vector this is: as they are where it has no parts.

    The factor is one over the deviation.
    """
    return _applied(TARGETS, layout, parameters, 1.0)


def _applied(
    names: tuple[str, ...], layout: Layout, parameters: np.ndarray, scale: float
) -> Standardisation:
    if names[0] not in layout.shapes:
        return Standardisation(factor=np.array([scale]))
    views = layout.views(parameters)
    mean, rest, deviation = (views[name].astype(np.float64) for name in names)
    factor = np.full(mean.shape, 1.0 / np.where(deviation == 0, 1.0, deviation))
    return Standardisation(mean + rest, factor)


def inputs_of(features: np.ndarray, standard: Standardisation, dtype: np.dtype) -> np.ndarray:
    """Return rows as they come to a model, (rows, F)."""
    out = np.empty((len(features), features[:1].size), dtype)
    gather_rows(features, np.arange(len(features), dtype=np.int32), out, standard.rounded(dtype))
    return out
