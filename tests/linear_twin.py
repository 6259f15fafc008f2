"""The linear family in float64 NumPy, as a textbook writes it, and problems to try it on."""

import math
from collections.abc import Callable

import numpy as np

CONSTANTS = {"huber": 1.35, "quantile": 0.5, "epsilon_insensitive": 0.1}


def sign_of(y: np.ndarray) -> np.ndarray:
    return 2 * y - 1


def hinge(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    short = np.maximum(0, 1 - sign_of(y) * p)
    return short, -sign_of(y) * (short > 0)


def squared_hinge(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    short, slope = hinge(p, y)
    return short**2, 2 * short * slope


def huber(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    error, delta = p - y, CONSTANTS["huber"]
    value = np.where(abs(error) <= delta, error**2 / 2, delta * (abs(error) - delta / 2))
    return value, np.clip(error, -delta, delta)


def quantile(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    error, share = p - y, CONSTANTS["quantile"]
    return np.maximum(-share * error, (1 - share) * error), np.where(error < 0, -share, 1 - share)


def epsilon_insensitive(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    excess = np.maximum(0, abs(p - y) - CONSTANTS["epsilon_insensitive"])
    return excess, np.sign(p - y) * (excess > 0)


# (predictions, targets) -> (values, slopes)
TWINS: dict[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "squared": lambda p, y: ((p - y) ** 2 / 2, p - y),
    "logistic": lambda p, y: (np.logaddexp(0, p) - p * y, 1 / (1 + np.exp(-p)) - y),
    "hinge": hinge,
    "squared_hinge": squared_hinge,
    "huber": huber,
    "quantile": quantile,
    "poisson": lambda p, y: (np.exp(p) - y * p, np.exp(p) - y),
    "epsilon_insensitive": epsilon_insensitive,
}
LABELS = ("logistic", "hinge", "squared_hinge")


def twin(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    parameters: np.ndarray,
    intercept: bool,
    outputs: int,
) -> tuple[float, np.ndarray]:
    """Return summed loss and mean gradient."""
    x, columns = x.astype(np.float64), x.shape[1]
    design = np.column_stack([x, np.ones(len(x))]) if intercept else x
    coefficients = parameters[: outputs * columns].reshape(outputs, -1).astype(np.float64)
    if intercept:
        coefficients = np.column_stack([coefficients, parameters[outputs * columns :]])
    scores = design @ coefficients.T
    if name == "softmax":
        probability = np.exp(scores - scores.max(1, keepdims=True))
        probability /= probability.sum(1, keepdims=True)
        picked = np.arange(len(y)), y.astype(int)
        losses = -np.log(probability[picked])
        probability[picked] -= 1
        slopes = probability
    else:
        losses, slopes = TWINS[name](scores[:, 0], y)
        slopes = slopes[:, None]
    gradient = (slopes * weights[:, None]).T @ design / len(x)
    flat = np.concatenate([gradient[:, :columns].ravel(), gradient[:, columns:].ravel()])
    return float(losses @ weights), flat


def problem(
    name: str, rows: int, features: int, intercept: bool, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Return features, targets, weights, parameters and the number of outputs."""
    rng = np.random.default_rng(seed)
    outputs = int(rng.integers(2, 6)) if name == "softmax" else 1
    x = rng.standard_normal((rows, features)).astype(np.float32)
    labels = name == "softmax" or name in LABELS
    y = rng.integers(0, max(outputs, 2), rows) if labels else rng.standard_normal(rows)
    y = np.abs(np.round(y)) if name == "poisson" else y
    weights = rng.random(rows) if seed % 2 else np.ones(rows)
    parameters = rng.standard_normal(outputs * (features + intercept)) / math.sqrt(features)
    y, weights = y.astype(np.float32).astype(np.float64), weights.astype(np.float32)
    return x, y, weights.astype(np.float64), parameters.astype(np.float32), outputs


def model_of(name: str, intercept: bool = True, outputs: int = 1, **more: object) -> object:
    """Return the model of the table that has this loss, features as they are."""
    from ooc.models import Linear, LinearSVM, Logistic, Softmax

    more = {"intercept": intercept, "standardise": False, **more}
    if name == "softmax":
        return Softmax(classes=outputs, **more)
    if name == "logistic":
        return Logistic(**more)
    return (LinearSVM if name in LABELS else Linear)(loss=name, **more)
