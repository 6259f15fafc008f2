"""A code that is sampled: a variational autoencoder (Kingma and Welling 2014) of images in 0..1.

An encoder gives mean and log variance of a row's code; a decoder makes the row's logits from a
code that is drawn with them. The loss has two terms that a run tells apart by their names. The
weight of the second one grows in the first steps: it is a function of the step's number, as the
noise is one of the step's seed and the row.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.core.compiler import lean_kernel, like
from ooc.kernels import dense
from ooc.kernels.activations import IDENTITY, TANH
from ooc.kernels.counters import NOT_FINITE, OK
from ooc.kernels.random_numbers import fill_normal
from ooc.kernels.share import BAD, Numbers, Output, Share
from ooc.metrics.measured import Measured, measured
from ooc.models.compiled import CompiledModel
from ooc.models.contract import BatchLike, Layout
from ooc.models.declarations import Kernel, Standardisation, dtype_of

RECONSTRUCTION, KULLBACK_LEIBLER = range(2)


@dataclass(frozen=True)
class VariationalAutoencoder(CompiledModel):
    """Features through a sampled code and back.

    Attributes
    ----------
    hidden, code
        Units of the layer before the code, and of the one after it; axes of the code.
    scale
        What features are multiplied with, so that they lie in 0..1.
    warmup
        Steps until the second term has its full weight.
    """

    hidden: int = 64
    code: int = 8
    scale: float = 1.0
    warmup: int = 200
    name: ClassVar[str] = "variational_autoencoder"
    needs_target = False
    terms = ("reconstruction", "kullback_leibler")

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return the weights (units, inputs) and biases of four layers."""
        features, h = math.prod(row_shape), self.hidden
        layers = {
            "encoder": (h, features),
            "code": (2 * self.code, h),
            "decoder": (h, self.code),
            "image": (features, h),
        }
        shapes: dict[str, tuple[int, ...]] = {}
        for name, shape in layers.items():
            shapes |= {f"{name}_weights": shape, f"{name}_biases": shape[:1]}
        return Layout(shapes, frozenset(name for name in shapes if name.endswith("biases")))

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return normal weights whose variance is one over a layer's inputs."""
        parameters = np.zeros(layout.size, dtype_of(self))
        for part in layout.views(parameters).values():
            if part.ndim == 2:
                part[:] = generator.standard_normal(part.shape) / math.sqrt(part.shape[1])
        return parameters

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return what the window loop calls."""
        features = layout.shapes["image_biases"][0]
        return Kernel(
            accumulate,
            np.empty(0),
            np.array([self.hidden, self.code, self.warmup]),
            Standardisation(factor=np.array([self.scale])),
            most_rows=64,
            own_values=4 * self.hidden + 4 * self.code + features,
            uses_blas=True,
        )

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Take any targets: they are not used."""

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the loss at the mean of the code, with the second term's full weight."""
        x, (mean, variance, logits) = self._run(parameters, batch.features)
        loss = (np.logaddexp(0, logits) - x * logits).sum()
        loss += 0.5 * (mean**2 + np.exp(variance) - variance - 1).sum()
        return measured(float(loss), len(x), np.empty(0), None)

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the code's mean, and the image that it makes."""
        _, (mean, _, logits) = self._run(parameters, features)
        return {"prediction": 1 / (1 + np.exp(-logits)) / self.scale, "code": mean}

    def _run(self, parameters: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, list]:
        views = self.layout(features.shape[1:]).views(parameters)

        def layer(name: str, inputs: np.ndarray) -> np.ndarray:
            return inputs @ views[f"{name}_weights"].T + views[f"{name}_biases"]

        x = features.reshape(len(features), -1) * parameters.dtype.type(self.scale)
        mean, variance = np.split(layer("code", np.tanh(layer("encoder", x))), 2, axis=1)
        return x, [mean, variance, layer("image", np.tanh(layer("decoder", mean)))]


@lean_kernel
def forward(
    parameters: np.ndarray,
    start: int,
    inputs: np.ndarray,
    activation: int,
    outputs: np.ndarray,
    slopes: np.ndarray,
) -> None:
    """Run rows through the layer whose weights begin at a place of the parameters."""
    units, fan = outputs.shape[1], inputs.shape[1]
    middle = start + units * fan
    weights, biases = parameters[start:middle], parameters[middle : middle + units]
    dense.forward(inputs, weights.reshape((units, fan)), biases, activation, outputs, slopes)


@lean_kernel
def backward(
    parameters: np.ndarray,
    start: int,
    inputs: np.ndarray,
    slopes: np.ndarray,
    delta: np.ndarray,
    gradient: np.ndarray,
    by_inputs: np.ndarray,
) -> None:
    """Fill the layer's gradient from `delta`, by its outputs; `by_inputs` may be `inputs`."""
    units, fan = delta.shape[1], inputs.shape[1]
    middle = start + units * fan
    by_weights = gradient[start:middle].reshape((units, fan))
    dense.backward(inputs, slopes, delta, by_weights, gradient[middle : middle + units])
    if by_inputs.size > 0:
        weights = parameters[start:middle].reshape((units, fan))
        dense.backward_inputs(delta, weights, by_inputs)


@lean_kernel
def draw(code: np.ndarray, noise: np.ndarray, drawn: np.ndarray) -> None:
    """Fill `drawn` (rows, L) from means and log variances, side by side, and normal numbers."""
    width = drawn.shape[1]
    for r in range(drawn.shape[0]):
        for k in range(width):
            half = like(0.5, code[r, k]) * code[r, width + k]
            drawn[r, k] = code[r, k] + like(math.exp(half), half) * noise[r, k]


@lean_kernel
def reconstruct(targets: np.ndarray, logits: np.ndarray, output: Output) -> int:
    """Add the cross entropy of pixels to its term; logits become the derivatives by them."""
    for r in range(logits.shape[0]):
        total = 0.0
        for j in range(logits.shape[1]):
            o, t = logits[r, j], targets[r, j]
            small = math.exp(-abs(o))
            total += max(o, 0.0) + math.log1p(small) - t * o
            logits[r, j] = like((1.0 if o >= 0 else small) / (1.0 + small), o) - t
        if not math.isfinite(total):
            output.report[BAD] = r
            return NOT_FINITE
        output.terms[RECONSTRUCTION] += total
    return OK


@lean_kernel
def diverge(
    code: np.ndarray, noise: np.ndarray, drawn: np.ndarray, weight: float, output: Output
) -> None:
    """Add the divergence from a normal code; `code` becomes the loss's derivative by it.

    `drawn` holds the derivative by the code that was drawn.
    """
    width = drawn.shape[1]
    for r in range(drawn.shape[0]):
        for k in range(width):
            mean, log_variance = np.float64(code[r, k]), np.float64(code[r, width + k])
            variance = math.exp(log_variance)
            total = 0.5 * (mean * mean + variance - log_variance - 1.0)
            output.terms[KULLBACK_LEIBLER] += weight * total
            by_deviation = 0.5 * math.sqrt(variance) * noise[r, k] * drawn[r, k]
            code[r, k] = drawn[r, k] + weight * mean
            code[r, width + k] = by_deviation + weight * 0.5 * (variance - 1.0)


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share."""
    h, width, warmup = numbers.integers[0], numbers.integers[1], numbers.integers[2]
    x, gradient, (rows, features) = share.features, output.gradient, share.features.shape
    to_code = h * features + h
    decoder = to_code + 2 * width * h + 2 * width
    to_image = decoder + h * width + h
    # Scratch: two hidden layers with their slopes, the code, what is drawn, and the image.
    n, last = rows * h, rows * (4 * h + 4 * width)
    above, above_slopes = own[:n].reshape((rows, h)), own[n : 2 * n].reshape((rows, h))
    below, below_slopes = own[2 * n : 3 * n].reshape((rows, h)), own[3 * n : 4 * n]
    image, nothing = own[last : last + rows * features].reshape((rows, features)), own[:0]
    n, k = 4 * n, rows * width
    code = own[n : n + 2 * k].reshape((rows, 2 * width))
    noise = own[n + 2 * k : n + 3 * k].reshape((rows, width))
    drawn = own[n + 3 * k : n + 4 * k].reshape((rows, width))
    no_slopes, no_code_slopes = nothing.reshape((0, features)), nothing.reshape((0, 2 * width))
    slopes = below_slopes.reshape((rows, h))

    forward(parameters, 0, x, TANH, above, above_slopes)
    forward(parameters, to_code, above, IDENTITY, code, no_code_slopes)
    fill_normal(share.seed, share.first, noise)
    draw(code, noise, drawn)
    forward(parameters, decoder, drawn, TANH, below, slopes)
    forward(parameters, to_image, below, IDENTITY, image, no_slopes)

    output.terms[:] = 0
    status = reconstruct(x, image, output)
    if status == OK:
        backward(parameters, to_image, below, no_slopes, image, gradient, below)
        backward(parameters, decoder, drawn, slopes, below, gradient, drawn)
        diverge(code, noise, drawn, min(1.0, (share.step + 1.0) / warmup), output)
        backward(parameters, to_code, above, no_code_slopes, code, gradient, above)
        backward(parameters, 0, x, above_slopes, above, gradient, no_slopes)
    return status
