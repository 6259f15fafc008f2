"""Coefficients with the names of their features, of a linear model: JSON and CSV.

They are those of features as they are: what standardising did is undone. Those of two classes are
of the second one.
"""

import csv
import io
import json

import numpy as np

from ooc.core.errors import InputError
from ooc.export.trained import Trained
from ooc.models.coefficients import linear_parts

INTERCEPT = "(intercept)"


def as_json(trained: Trained) -> bytes:
    """Return one object: "model", "link", "classes", "intercept" (K), "coefficients" by feature."""
    coefficients, intercepts = _linear_parts(trained)
    table = zip(trained.features, coefficients.T.tolist(), strict=True)
    described = {
        "model": trained.model.to_config(),
        "link": getattr(trained.model, "link", None),
        "classes": trained.labels.tolist(),
        "intercept": intercepts.tolist(),
        "coefficients": dict(table),
    }
    return (json.dumps(described, indent=1) + "\n").encode()


def as_csv(trained: Trained) -> bytes:
    """Return a line for the intercept and for each feature, a column for each output."""
    coefficients, intercepts = _linear_parts(trained)
    many = len(coefficients) > 1
    columns = [str(label) for label in trained.labels] if many else ["coefficient"]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["feature", *columns])
    writer.writerow([INTERCEPT, *intercepts.tolist()])
    for name, values in zip(trained.features, coefficients.T.tolist(), strict=True):
        writer.writerow([name, *values])
    return lines.getvalue().encode()


def _linear_parts(trained: Trained) -> tuple[np.ndarray, np.ndarray]:
    try:
        return linear_parts(trained.model, trained.layout, trained.parameters)
    except InputError as error:
        raise InputError(f"{error}; export it as .onnx or .safetensors") from None
