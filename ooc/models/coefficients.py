"""Coefficients of the data's own features: what standardising did to them is undone."""

from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.models.contract import Layout, Model
from ooc.models.standardise import standardisation, target_standardisation

PARTS = ("coefficients", "intercept")


def linear_parts(
    model: Model, layout: Layout, parameters: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (K, F) and intercepts (K,), float64, of features as they are.

    ``X @ coefficients.T + intercepts`` are the model's scores, in the targets' unit.

    Raises
    ------
    InputError
        If it is no linear model.

    Examples
    --------
    >>> from ooc.models import Linear
    >>> model = Linear(scale=0.5, standardise=False, standardise_target=False)
    >>> linear_parts(model, model.layout((2,)), np.float32([2, 4, 1]))
    (array([[1., 2.]]), array([1.]))
    """
    linear: Any = model
    of_model = {name for name in layout.shapes if name not in layout.fixed}
    if "coefficients" not in of_model or not of_model <= set(PARTS):
        raise InputError(
            f"{model.name} has no coefficients of features alone: it is made of "
            f"{', '.join(sorted(of_model))}"
        )
    views = layout.views(parameters)
    coefficients = views["coefficients"].astype(np.float64)
    intercepts = np.zeros(len(coefficients))
    if "intercept" in views:
        intercepts += views["intercept"]
    of_features = standardisation(layout, parameters, linear.scale)
    coefficients *= of_features.factor
    if of_features.shift.size:
        intercepts -= coefficients @ of_features.shift
    of_targets = target_standardisation(layout, parameters)
    coefficients /= of_targets.factor[:, None]
    intercepts /= of_targets.factor
    if of_targets.shift.size:
        intercepts += of_targets.shift
    return coefficients, intercepts
