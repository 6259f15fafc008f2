"""Features and targets with mean 0 and deviation 1: measured before training, applied on the way.

What was measured lies in fixed parts of the parameter vector. A mean is kept as the sum of two
numbers, so that it is exact far from zero: seconds since 1970 have ten digits before the point.
"""

from collections.abc import Mapping

import numpy as np

from ooc.kernels.rows import gather_rows
from ooc.models.contract import Layout, Statistics
from ooc.models.declarations import Standardisation

AUTO = "auto"
# Features whose deviations differ by more than this, or whose means lie further from 0 than this
# many deviations, are standardised where that is left to the data.
MOST_SPREAD = 8.0
MOST_OFFSET = 2.0
MEAN, REST, DEVIATION = "feature_mean", "feature_mean_rest", "feature_deviation"
# Targets are, where their mean lies as far from 0, or their deviation is not within this factor
# of 1: parameters begin near 0 and 1, and a step of Adam is as long as its learning rate.
MOST_TARGET_SPREAD = 10.0
TARGET_MEAN, TARGET_REST = "target_mean", "target_mean_rest"
TARGET_DEVIATION = "target_deviation"


def standard_parts(features: int) -> dict[str, tuple[int, ...]]:
    """Return the parts of a layout that hold what was measured."""
    return {MEAN: (features,), REST: (features,), DEVIATION: (features,)}


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


def measured_parts(statistics: Statistics) -> dict[str, np.ndarray]:
    """Return the values of the parts, from one pass over all rows."""
    mean, deviation = statistics.moments()
    near = mean.astype(np.float32)
    return {MEAN: near, REST: mean - near, DEVIATION: deviation}


def standardisation(layout: Layout, parameters: np.ndarray, scale: float) -> Standardisation:
    """Return how features come to a model whose vector this is; `scale` where it has no parts."""
    if MEAN not in layout.shapes:
        return Standardisation(factor=np.array([scale]))
    views: Mapping[str, np.ndarray] = layout.views(parameters)
    deviation = views[DEVIATION].astype(np.float64)
    shift = views[MEAN].astype(np.float64) + views[REST]
    return Standardisation(shift, 1.0 / np.where(deviation == 0, 1.0, deviation))


def target_parts(targets: int) -> dict[str, tuple[int, ...]]:
    """Return the parts of a layout that hold what was measured of targets.

    All targets have one deviation: the loss of a row stays a sum over its targets.
    """
    return {TARGET_MEAN: (targets,), TARGET_REST: (targets,), TARGET_DEVIATION: (1,)}


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


def measured_target_parts(
    statistics: Statistics, has_intercept: bool = True
) -> dict[str, np.ndarray]:
    """Return the values of the parts of targets, from one pass over them."""
    mean, deviation = statistics.target_moments()
    mean = mean * has_intercept
    near = mean.astype(np.float32)
    return {
        TARGET_MEAN: near,
        TARGET_REST: mean - near,
        TARGET_DEVIATION: np.array([_common(deviation)]),
    }


def _common(deviations: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(deviations))))


def target_standardisation(layout: Layout, parameters: np.ndarray) -> Standardisation:
    """Return how targets come to a model whose vector this is: as they are where it has no parts.

    The factor is one over the deviation.
    """
    if TARGET_MEAN not in layout.shapes:
        return Standardisation()
    views: Mapping[str, np.ndarray] = layout.views(parameters)
    shift = views[TARGET_MEAN].astype(np.float64) + views[TARGET_REST]
    deviation = float(views[TARGET_DEVIATION][0]) or 1.0
    return Standardisation(shift, np.full(shift.shape, 1.0 / deviation))


def inputs_of(features: np.ndarray, standard: Standardisation, dtype: np.dtype) -> np.ndarray:
    """Return rows as they come to a model, (rows, F)."""
    out = np.empty((len(features), features[:1].size), dtype)
    gather_rows(features, np.arange(len(features), dtype=np.int32), out, standard.rounded(dtype))
    return out
