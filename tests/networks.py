"""A textbook network in float64 NumPy, to compare with."""

import numpy as np

from ooc.models.contract import Layout


def weights_and_biases(layout: Layout, parameters: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    parts = list(layout.views(parameters.astype(np.float64)).values())
    return list(zip(parts[::2], parts[1::2], strict=True))


def forward(layers: list[tuple[np.ndarray, ...]], x: np.ndarray) -> list[np.ndarray]:
    """Return the activations of all layers, tanh but for the last, inputs first."""
    values = [x.astype(np.float64)]
    for number, (weights, biases) in enumerate(layers):
        z = values[-1] @ weights.T + biases
        values.append(z if number == len(layers) - 1 else np.tanh(z))
    return values


def loss_and_gradient(
    layout: Layout, parameters: np.ndarray, x: np.ndarray, y: np.ndarray, head: str, decay: float
) -> tuple[float, np.ndarray]:
    """Return the mean loss of a network of tanh layers, penalty included, and its gradient."""
    layers = weights_and_biases(layout, parameters)
    values = forward(layers, x)
    scores, rows = values[-1], len(x)
    if head == "multiclass":
        probability = np.exp(scores - scores.max(axis=1, keepdims=True))
        probability /= probability.sum(axis=1, keepdims=True)
        chosen = np.arange(rows), y.astype(int).ravel()
        loss = -np.log(probability[chosen]).sum()
        delta = probability.copy()
        delta[chosen] -= 1
    elif head == "binary":
        y = y.reshape(scores.shape)
        loss = (np.logaddexp(0, scores) - scores * y).sum()
        delta = 1 / (1 + np.exp(-scores)) - y
    else:
        y = y.reshape(scores.shape)
        loss, delta = 0.5 * ((scores - y) ** 2).sum(), scores - y
    parts: list[np.ndarray] = []
    penalty = 0.0
    for number in range(len(layers) - 1, -1, -1):
        weights, _ = layers[number]
        penalty += 0.5 * decay * (weights**2).sum()
        by_weights = delta.T @ values[number] / rows + decay * weights
        parts = [by_weights.ravel(), delta.sum(axis=0) / rows, *parts]
        delta = (delta @ weights) * (1 - values[number] ** 2)
    return loss / rows + penalty, np.concatenate(parts)
