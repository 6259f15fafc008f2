"""The models of this package once more, in plain NumPy: losses, terms and gradients of batches."""

from dataclasses import fields
from typing import Any

import numpy as np

from contract.embedding_bag import EmbeddingBag
from contract.second_derivative import SecondDerivative
from contract.variational_autoencoder import VariationalAutoencoder
from contract.wasserstein import WassersteinPair
from ooc.core.random_keys import ALL_BITS, GOLDEN, splitmix
from ooc.kernels.random_numbers import normal, uniform


def wasserstein(
    model: Any, parameters: np.ndarray, batch: Any, out: np.ndarray
) -> tuple[float, ...]:
    """Return the terms of the phase whose turn it is."""
    layout = model.layout((2,))
    v, g = layout.views(parameters), layout.views(out)
    rows = range(len(batch.rows))
    codes = np.array([[normal(batch.seed, row, k) for k in range(2)] for row in rows])
    mix = np.array([uniform(batch.seed, row, 4) for row in rows])[:, None]
    out[:] = 0
    count = len(codes)

    def bend(a: np.ndarray) -> tuple[np.ndarray, ...]:
        s = 1 / np.sqrt(1 + a**2)
        return a * s, s**3, -3 * a * s**5

    hidden, hidden_slope, _ = bend(codes @ v["generator_in"] + v["generator_bias"])
    made = hidden @ v["generator_out"].T + v["generator_shift"]

    def by_critic(points: np.ndarray, factor: float) -> float:
        s, slope, _ = bend(points @ v["critic_in"] + v["critic_bias"])
        delta = factor * slope * v["critic_out"] / count
        g["critic_in"][:] += points.T @ delta
        g["critic_bias"][:] += delta.sum(0)
        g["critic_out"][:] += factor * s.mean(0)
        return factor * (s @ v["critic_out"]).mean()

    if batch.step % (model.critic_steps + 1) < model.critic_steps:
        x = batch.features.astype(np.float64)
        critic = by_critic(made, 1.0) + by_critic(x, -1.0)
        between = mix * x + (1 - mix) * made
        _, slope, curve = bend(between @ v["critic_in"] + v["critic_bias"])
        steep = (slope * v["critic_out"]) @ v["critic_in"].T
        norm = np.linalg.norm(steep, axis=1, keepdims=True)
        penalty = model.penalty * ((norm - 1) ** 2).mean()
        q = 2 * model.penalty * (norm - 1) / norm * steep / count
        along = q @ v["critic_in"]
        g["critic_out"][:] += (slope * along).sum(0)
        g["critic_bias"][:] += (v["critic_out"] * curve * along).sum(0)
        g["critic_in"][:] += q.T @ (slope * v["critic_out"])
        g["critic_in"][:] += between.T @ (v["critic_out"] * curve * along)
        return critic, penalty, 0.0
    s, slope, _ = bend(made @ v["critic_in"] + v["critic_bias"])
    by_made = -(slope * v["critic_out"]) @ v["critic_in"].T / count
    g["generator_shift"][:] = by_made.sum(0)
    g["generator_out"][:] = by_made.T @ hidden
    delta = (by_made @ v["generator_out"]) * hidden_slope
    g["generator_bias"][:] = delta.sum(0)
    g["generator_in"][:] = codes.T @ delta
    return 0.0, 0.0, -(s @ v["critic_out"]).mean()


def autoencoder(
    model: Any, parameters: np.ndarray, batch: Any, out: np.ndarray
) -> tuple[float, ...]:
    """Return both terms."""
    layout = model.layout(batch.features.shape[1:])
    v, g = layout.views(parameters), layout.views(out)
    x = batch.features.reshape(len(batch.rows), -1) * np.float64(model.scale)
    count, width = len(x), model.code
    noise = np.array([[normal(batch.seed, r, k) for k in range(width)] for r in range(count)])
    h = np.tanh(x @ v["encoder_weights"].T + v["encoder_biases"])
    code = h @ v["code_weights"].T + v["code_biases"]
    mean, log_variance = code[:, :width], code[:, width:]
    deviation = np.exp(log_variance / 2)
    z = mean + deviation * noise
    d = np.tanh(z @ v["decoder_weights"].T + v["decoder_biases"])
    o = d @ v["image_weights"].T + v["image_biases"]
    weight = min(1.0, (batch.step + 1) / model.warmup)
    reconstruction = (np.logaddexp(0, o) - x * o).sum() / count
    divergence = 0.5 * weight * (mean**2 + deviation**2 - log_variance - 1).sum() / count

    def back(name: str, delta: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        g[f"{name}_weights"][:] = delta.T @ inputs
        g[f"{name}_biases"][:] = delta.sum(0)
        return delta @ v[f"{name}_weights"]

    by_z = back("image", (1 / (1 + np.exp(-o)) - x) / count, d)
    by_z = back("decoder", by_z * (1 - d**2), z)
    by_mean = by_z + weight * mean / count
    by_variance = 0.5 * (by_z * deviation * noise + weight * (deviation**2 - 1) / count)
    by_h = back("code", np.hstack([by_mean, by_variance]), h)
    back("encoder", by_h * (1 - h**2), x)
    return reconstruction, divergence


def table_row(identifier: int, rows: int) -> int:
    """Return what an identifier picks, by Python's whole numbers."""
    return int(splitmix(((int(identifier) + 1) * GOLDEN) & ALL_BITS) % rows)


def embedding(model: Any, parameters: np.ndarray, batch: Any, out: np.ndarray) -> tuple[float, ...]:
    """Return the loss."""
    layout = model.layout(batch.features.shape[1:])
    v, g = layout.views(parameters), layout.views(out)
    x = batch.features.astype(np.float64)
    y, count = np.asarray(batch.target, np.float64), len(batch.rows)
    ids = batch.arrays["ids"]
    assert ids.dtype == np.int64
    places = np.array([[table_row(i, model.rows) for i in row] for row in ids])
    bag = v["table"][places].sum(axis=1)
    score = x @ v["coefficients"] + v["intercept"] + bag @ v["weights"]
    delta = (1 / (1 + np.exp(-score)) - y) / count
    out[:] = 0
    g["coefficients"][:] = delta @ x
    g["intercept"][:] = delta.sum()
    g["weights"][:] = delta @ bag
    for k in range(ids.shape[1]):
        np.add.at(g["table"], places[:, k], np.outer(delta, v["weights"]))
    return ((np.logaddexp(0, score) - y * score).mean(),)


def second_derivative(
    model: Any, parameters: np.ndarray, batch: Any, out: np.ndarray
) -> tuple[float, ...]:
    """Return both terms."""
    layout = model.layout((1,))
    v, g = layout.views(parameters), layout.views(out)
    x, f = batch.features.reshape(-1, 1), np.asarray(batch.target).reshape(-1)
    end = batch.arrays[model.tag].reshape(-1) == 1
    w, weights = v["slopes"], v["weights"]
    t = np.tanh(x * w + v["biases"])
    first = 1 - t**2
    second, third = -2 * t * first, first * (6 * t**2 - 2)
    rest = np.where(end, t @ weights + v["constant"], (w**2 * second) @ weights) - f
    factor = np.where(end, model.boundary, 1.0) / len(x)
    d, tag = (factor * rest)[:, None], end[:, None]
    g["constant"][:] = d[end].sum()
    g["weights"][:] = (d * np.where(tag, t, w**2 * second)).sum(0)
    g["biases"][:] = (d * weights * np.where(tag, first, w**2 * third)).sum(0)
    inside = 2 * w * second + w**2 * third * x
    g["slopes"][:] = (d * weights * np.where(tag, first * x, inside)).sum(0)
    terms = 0.5 * factor * rest**2
    return terms[~end].sum(), terms[end].sum()


TWINS = {
    WassersteinPair: wasserstein,
    VariationalAutoencoder: autoencoder,
    EmbeddingBag: embedding,
    SecondDerivative: second_derivative,
}


def twin_of(model: Any) -> Any:
    """Return a model in float64 that has no kernel: all that it learns comes of its twin."""
    twin = TWINS[type(model)]

    def loss_and_grad(self: Any, parameters: np.ndarray, batch: Any, out_grad: np.ndarray) -> float:
        return float(np.sum(twin(self, parameters.astype(np.float64), batch, out_grad)))

    own = {"dtype": np.float64, "kernel": None, "loss_and_grad": loss_and_grad}
    own["scratch_bytes"] = lambda self, layout, rows: 8 * rows * 4096
    settings = {each.name: getattr(model, each.name) for each in fields(model)}
    return type(type(model).__name__, (type(model),), own)(**settings)
