"""The pair's gradients: against finite differences, and against complex steps of a NumPy twin.

The twin is written another way: one row after the other, the critic's slope as a product of
matrices with rectifiers as diagonals, and no backward pass at all. A step of 1e-30 i leaves the
derivative in the imaginary part (Squire and Trapp 1998), to the last digits and past no kink.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest

from ooc.core.errors import DataError
from ooc.kernels.random_numbers import uniform
from pipelines.protein_interfaces import coordinates, kernels, row_kernels
from pipelines.protein_interfaces.columns import ENERGY, STABLE
from pipelines.protein_interfaces.complexes import FITTED
from pipelines.protein_interfaces.model import InterfacePair
from pipelines.protein_interfaces.world import draw_rows

ROWS, SEED = 7, 12345
STEP = 1e-30
pytestmark = pytest.mark.slow  # to compile


class Batch(NamedTuple):
    """The rows of one step."""

    features: np.ndarray
    target: np.ndarray
    step: int
    seed: int = SEED
    weight: None = None
    roles: tuple[str, str, None] = ("X", "y", None)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {"X": self.features, "y": self.target}

    @property
    def rows(self) -> np.ndarray:
        return np.arange(len(self.features))


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    return draw_rows(np.random.default_rng(0), 2000, FITTED)


def pair_of(rows: np.ndarray, **more: Any) -> InterfacePair:
    found = coordinates.fit(rows)
    return InterfacePair(
        found.edges, found.starts, found.shift, found.factor,
        hidden=5, latent=60, penalty=3.0, critic_steps=1, dtype="float64", **more,
    )  # fmt: skip


def parameters_of(model: InterfacePair) -> np.ndarray:
    rng = np.random.default_rng(1)
    start = model.init(model.layout((64,)), rng)
    return start + 0.2 * rng.standard_normal(start.size)


def losses(model: InterfacePair, parameters: np.ndarray, batch: Batch) -> tuple[complex, complex]:
    """Return the mean losses of critic and generator, of complex parameters."""
    part = model.layout((64,)).views(parameters)

    def leaky(values: np.ndarray) -> np.ndarray:
        return np.where(values.real > 0, values, kernels.LEAK * values)

    def slope(values: np.ndarray) -> np.ndarray:
        return np.diag(np.where(values.real > 0, 1.0, kernels.LEAK))

    def made(code: np.ndarray) -> Any:
        one = leaky(part["generator.weights1"] @ code + part["generator.biases1"])
        two = leaky(part["generator.weights2"] @ one + part["generator.biases2"])
        direct = part["generator.direct"] @ code
        return part["generator.weights3"] @ two + direct + part["generator.biases3"]

    def critic(point: np.ndarray, condition: np.ndarray) -> tuple[Any, Any]:
        first = part["critic.weights1"] @ np.concatenate([point, condition])
        first = first + part["critic.biases1"]
        second = part["critic.weights2"] @ leaky(first) + part["critic.biases2"]
        chain = slope(second) @ part["critic.weights2"] @ slope(first) @ part["critic.weights1"]
        return part["critic.weights3"] @ leaky(second), part["critic.weights3"] @ chain

    real = model.coordinates.of_rows(batch.features, SEED)
    codes = np.empty((len(real), model.latent))
    row_kernels.fill_codes(SEED, 0, codes)
    of_critic = of_generator = 0j
    for r in range(len(real)):
        condition = np.zeros(10)
        condition[int(batch.target[r])] = 1
        condition[9] = batch.features[r, ENERGY] <= STABLE
        new = made(np.concatenate([codes[r], condition]))
        share = uniform(SEED, r, row_kernels.MIXTURE)
        _, slopes = critic(share * real[r] + (1 - share) * new.real, condition)
        norm = np.sqrt((slopes[: coordinates.SIZE] ** 2).sum())
        told = critic(new, condition)[0]
        of_critic += told - critic(real[r], condition)[0] + model.penalty * (norm - 1) ** 2
        of_generator -= told
    return of_critic / len(real), of_generator / len(real)


@pytest.mark.parametrize("turn", [0, 1], ids=["critic", "generator"])
def test_the_gradient_is_that_of_a_twin_without_a_backward_pass(
    turn: int, drawn: dict[str, np.ndarray]
) -> None:
    model = pair_of(drawn["X"])
    parameters, layout = parameters_of(model), model.layout((64,))
    batch = Batch(drawn["X"][:ROWS], drawn["y"][:ROWS], turn)
    found = np.zeros(layout.size)
    loss = model.loss_and_grad(parameters, batch, found)
    np.testing.assert_allclose(loss, losses(model, parameters, batch)[turn].real, rtol=1e-12)
    first, last = (0, 1) if turn == 0 else (1, 2)
    whole = [name for name in layout.shapes if name.startswith(("critic", "generator")[turn])]
    for name in whole:
        start, stop = layout.spans()[name]
        places = np.unique(np.linspace(start, stop - 1, 12).astype(int))
        for place in places:
            moved = parameters.astype(complex)
            moved[place] += 1j * STEP
            expected = losses(model, moved, batch)[first:last][0].imag / STEP
            assert found[place] == pytest.approx(expected, rel=1e-10, abs=1e-13), (name, place)


@pytest.mark.parametrize("turn", [0, 1], ids=["critic", "generator"])
def test_the_gradient_is_the_slope_by_finite_differences(
    turn: int, drawn: dict[str, np.ndarray]
) -> None:
    """Along random directions of all parameters of the network whose turn it is."""
    model, rng = pair_of(drawn["X"]), np.random.default_rng(2)
    parameters, layout = parameters_of(model), model.layout((64,))
    batch = Batch(drawn["X"][:ROWS], drawn["y"][:ROWS], turn)
    found, scratch = np.zeros(layout.size), np.zeros(layout.size)
    model.loss_and_grad(parameters, batch, found)
    own = np.zeros(layout.size, bool)
    for name, (start, stop) in layout.spans().items():
        own[start:stop] = name.startswith(("critic", "generator")[turn])
    for _ in range(5):
        way = np.where(own, rng.standard_normal(layout.size), 0)
        ends = [
            model.loss_and_grad(parameters + step * way, batch, scratch) for step in (-1e-7, 1e-7)
        ]
        assert found @ way == pytest.approx((ends[1] - ends[0]) / 2e-7, rel=1e-6)


def test_the_penalty_s_part_alone_is_right(drawn: dict[str, np.ndarray]) -> None:
    """What a larger penalty adds to the gradient has a zero in every bias."""
    batch = Batch(drawn["X"][:ROWS], drawn["y"][:ROWS], 0)
    small, large = pair_of(drawn["X"]), pair_of(drawn["X"])
    object.__setattr__(large, "penalty", 7.0)
    parameters, layout = parameters_of(small), small.layout((64,))
    found = np.zeros((2, layout.size))
    for model, out in zip((small, large), found, strict=True):
        model.loss_and_grad(parameters, batch, out)
    added = layout.views(found[1] - found[0])
    assert not added["critic.biases1"].any()
    assert not added["critic.biases2"].any()
    assert np.abs(added["critic.weights1"]).max() > 0
    # The critic's first layer sees conditions; of its slope by them nothing is asked.
    assert not added["critic.weights1"][:, coordinates.SIZE :].any()


@pytest.mark.parametrize(
    ("column", "value", "says"), [(ENERGY, np.nan, "row 3"), (None, 9, "row 3")]
)
def test_a_row_that_cannot_be_is_named(
    column: int | None, value: float, says: str, drawn: dict[str, np.ndarray]
) -> None:
    model, rows, labels = pair_of(drawn["X"]), drawn["X"][:ROWS].copy(), drawn["y"][:ROWS].copy()
    if column is None:
        labels[3] = int(value)
    else:
        rows[3, column] = value
    with pytest.raises(DataError, match=says):
        model.loss_and_grad(parameters_of(model), Batch(rows, labels, 0), np.zeros(9999))


def test_pytorch_s_own_second_derivative_is_the_same(drawn: dict[str, np.ndarray]) -> None:
    """The twin of `pipelines.protein_interfaces.peers`, at the points that the kernel drew."""
    torch = pytest.importorskip("torch")
    from pipelines.protein_interfaces import peers

    model = pair_of(drawn["X"])
    parameters, layout = parameters_of(model), model.layout((64,))
    batch = Batch(drawn["X"][:ROWS], drawn["y"][:ROWS], 0)
    found = np.zeros(layout.size)
    loss = model.loss_and_grad(parameters, batch, found)
    part = {
        name: torch.tensor(view, requires_grad=True)
        for name, view in layout.views(parameters).items()
    }
    codes = np.empty((ROWS, model.latent))
    row_kernels.fill_codes(SEED, 0, codes)
    told = torch.from_numpy(peers.conditions_of(batch.features, batch.target).astype(np.float64))
    shares = [[uniform(SEED, row, row_kernels.MIXTURE)] for row in range(ROWS)]
    told_loss = peers.critic_loss(
        torch, part, torch.from_numpy(model.coordinates.of_rows(batch.features, SEED)),
        torch.cat([torch.from_numpy(codes), told], dim=1), told, model.penalty,
        torch.tensor(shares, dtype=torch.float64),
    )  # fmt: skip
    told_loss.backward()
    assert loss == pytest.approx(told_loss.item(), rel=1e-12)
    for name, view in layout.views(found).items():
        if name.startswith("critic"):
            expected = part[name].grad.numpy()
            np.testing.assert_allclose(view, expected, rtol=1e-9, atol=1e-13)
