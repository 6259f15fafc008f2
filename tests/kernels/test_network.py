"""The networks' kernel: every loss and activation, in float64, against finite differences."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from networks import loss_and_gradient

from ooc.core.errors import DataError
from ooc.kernels.activations import ACTIVATIONS
from ooc.kernels.losses import COUNTS, LABELS, LOSSES, Loss, loss_constant
from ooc.kernels.network import first_overflow
from ooc.models import MLP, Autoencoder
from ooc.models.network import DenseNetwork
from ooc.stream.batch import Batch


@dataclass(frozen=True)
class AnyLoss(MLP):
    """A network in float64 with any loss of the table, also those that no head has."""

    entry: str = "squared"
    dtype: ClassVar[Any] = "float64"

    @property
    def chosen_loss(self) -> Loss:
        return LOSSES[self.entry]

    @property
    def constant(self) -> float:
        return loss_constant(self.entry)

    @property
    def target_width(self) -> int:
        return 1 if self.chosen_loss.pair is None else self.outputs


@dataclass(frozen=True)
class Reconstruction(Autoencoder):
    dtype: ClassVar[Any] = "float64"


def any_loss(entry: str, activation: str = "tanh", **more: Any) -> AnyLoss:
    settings = {"hidden": (6, 5), "standardise": False, "head": "regression", "outputs": 3, **more}
    return AnyLoss(activation=activation, entry=entry, **settings)


def batch_of(name: str, rng: np.random.Generator, rows: int = 90) -> Batch:
    x, weights, loss = rng.standard_normal((rows, 4)), rng.random(rows), LOSSES[name]
    if loss.pair is None:
        y = rng.integers(0, 3, (rows, 1)).astype(float)
    elif loss.rule == LABELS:
        y = rng.integers(0, 2, (rows, 3)).astype(float)
    else:
        y = rng.poisson(2, (rows, 3)) * 1.0 if loss.rule == COUNTS else rng.random((rows, 3))
    return Batch({"X": x, "y": y, "w": weights}, np.arange(rows), 3, 17, ("X", "y", "w"))


def check_slopes(model: DenseNetwork, batch: Batch, rng: np.random.Generator) -> None:
    """Central differences by every parameter; at most a few may lie at a kink."""
    size = model.layout((4,)).size
    point = rng.standard_normal(size) * 0.5
    gradient, other, wrong = np.empty(size), np.empty(size), 0
    model.loss_and_grad(point, batch, gradient)
    for i in range(size):
        ends = []
        for sign in (1, -1):
            moved = point.copy()
            moved[i] += sign * 1e-6
            ends.append(model.loss_and_grad(moved, batch, other))
        slope = (ends[0] - ends[1]) / 2e-6
        wrong += abs(gradient[i] - slope) > 1e-6 * max(1, abs(slope))
    assert wrong <= size // 50


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_network_takes_every_loss(name: str, rng: np.random.Generator) -> None:
    """With weights of rows, dropout and decay, in shares of a few rows."""
    check_slopes(any_loss(name, dropout=0.25, weight_decay=0.1), batch_of(name, rng), rng)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_network_takes_every_activation(name: str, rng: np.random.Generator) -> None:
    check_slopes(any_loss("squared", name), batch_of("squared", rng), rng)
    model = Reconstruction((5,), name, code=2, standardise=False)
    check_slopes(model, batch_of("squared", rng), rng)


@pytest.mark.parametrize("hidden", [(), (7,), (4, 9, 3)])
def test_gradient_in_float64_is_that_of_the_numpy_twin(
    hidden: tuple[int, ...], rng: np.random.Generator
) -> None:
    """To eleven digits, where descent has to go deep."""
    x, y = rng.standard_normal((700, 4)), rng.standard_normal((700, 3))
    model = any_loss("squared", hidden=hidden, weight_decay=0.01)
    layout = model.layout((4,))
    point, gradient = rng.standard_normal(layout.size), np.empty(layout.size)
    batch = Batch({"X": x, "y": y}, np.arange(700), 0, 0, ("X", "y", None))
    loss = model.loss_and_grad(point, batch, gradient)
    expected, slope = loss_and_gradient(layout, point, x, y, "regression", 0.01)
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_a_bad_target_is_named_by_its_row(name: str, rng: np.random.Generator) -> None:
    model, batch = any_loss(name), batch_of(name, rng)
    batch.arrays["y"][66, -1] = np.nan
    point = np.zeros(model.layout((4,)).size)
    with pytest.raises(DataError, match="row 66 of y has target"):
        model.loss_and_grad(point, batch, np.empty(point.size))


def test_weights_multiply_losses_and_gradients(rng: np.random.Generator) -> None:
    """Weight 2 is a row twice; the mean is over rows, whatever the weights."""
    for name in LOSSES:
        model, batch = any_loss(name), batch_of(name, rng)
        times = rng.integers(0, 4, 90)
        repeated = np.repeat(np.arange(90), times)
        batch.arrays["w"][:] = times
        twice = {key: array[repeated] for key, array in batch.arrays.items() if key != "w"}
        doubled = Batch(twice, repeated, 3, 17, ("X", "y", None))
        point = rng.standard_normal(model.layout((4,)).size)
        one, two = np.empty(point.size), np.empty(point.size)
        loss = model.loss_and_grad(point, batch, one) * 90
        other = model.loss_and_grad(point, doubled, two) * len(repeated)
        assert loss == pytest.approx(other, rel=1e-10)
        np.testing.assert_allclose(one * 90, two * len(repeated), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_the_first_row_that_overflows_is_found(real: str) -> None:
    """Whose squares are beyond float32: NaN and both infinities among them."""
    rows = np.ones((50, 9), real)
    assert first_overflow(rows) == -1
    for value in (np.nan, np.inf, -np.inf, 3e19):
        spoiled = rows.copy()
        spoiled[31, 8], spoiled[40, 0] = value, value
        assert first_overflow(spoiled) == 31
