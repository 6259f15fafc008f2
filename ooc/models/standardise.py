"""Features with mean 0 and deviation 1: decided and measured before training, applied on the way.

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


def inputs_of(features: np.ndarray, standard: Standardisation, dtype: np.dtype) -> np.ndarray:
    """Return rows as they come to a model, (rows, F)."""
    out = np.empty((len(features), features[:1].size), dtype)
    gather_rows(features, np.arange(len(features), dtype=np.int32), out, standard.rounded(dtype))
    return out
