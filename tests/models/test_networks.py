"""Dense networks: gradients against the NumPy twin and finite differences; what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import loss_and_gradient

from ooc.core.errors import DataError, InputError
from ooc.core.random_keys import Purpose, generator
from ooc.kernels.activations import ACTIVATIONS
from ooc.models import MLP, Autoencoder, from_config
from ooc.models.network import DenseNetwork
from ooc.stream.batch import Batch

HEADS = {"regression": 2, "binary": 1, "multiclass": 3}
SMOOTH = [name for name in ACTIVATIONS if name not in ("relu", "leaky_relu")]


def batch_of(x: np.ndarray, y: np.ndarray | None = None, seed: int = 0) -> Batch:
    arrays = {"X": x} if y is None else {"X": x, "y": y}
    return Batch(arrays, np.arange(len(x)), 0, seed, ("X", "y" if y is not None else None, None))


def targets_of(head: str, rows: int, rng: np.random.Generator) -> np.ndarray:
    if head == "regression":
        return rng.standard_normal((rows, HEADS[head])).astype(np.float32)
    return rng.integers(0, max(2, HEADS[head]), rows)


def start(model: DenseNetwork, features: int, seed: int = 0) -> np.ndarray:
    parameters = model.init(model.layout((features,)), generator(seed, Purpose.PARAMETERS))
    biases = np.random.default_rng(seed).standard_normal(parameters.size) * 0.1
    return (parameters + biases).astype(np.float32)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("head", [*HEADS, "reconstruction"])
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(1, 1200),
    features=st.integers(1, 9),
    hidden=st.lists(st.integers(1, 12), max_size=3),
    seed=st.integers(0, 10**6),
    shared=st.booleans(),
)
def test_gradient_is_that_of_the_numpy_twin(
    head: str, rows: int, features: int, hidden: list[int], seed: int, shared: bool
) -> None:
    """Batches of several shares, too, which networks as small as these would not have."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features)).astype(np.float32)
    model: DenseNetwork
    if head == "reconstruction":
        model, y = Autoencoder(hidden, "tanh", weight_decay=0.01, code=2), x
        batch = batch_of(x)
    else:
        model = MLP(hidden, "tanh", weight_decay=0.01, head=head, outputs=HEADS[head])
        y = targets_of(head, rows, rng)
        batch = batch_of(x, y)
    parameters, layout = start(model, features, seed), model.layout((features,))
    gradient = np.empty(layout.size)
    with pytest.MonkeyPatch.context() as patched:
        if shared:
            patched.setattr("ooc.models.network.SHARE_ROWS", 8)
            patched.setattr("ooc.models.network.SHARE_WORK", 0)
        loss = model.loss_and_grad(parameters, batch, gradient)
    expected, slope = loss_and_gradient(layout, parameters, x, y, head, 0.01)
    assert loss == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("head", [*HEADS, "reconstruction"])
def test_gradient_is_the_slope_of_the_loss(
    activation: str, head: str, rng: np.random.Generator
) -> None:
    """Central differences of the model's own loss along random directions, dropout included."""
    settings = {"activation": activation, "dropout": 0.25, "weight_decay": 0.1}
    x = rng.standard_normal((300, 5)).astype(np.float32)
    if head == "reconstruction":
        model: DenseNetwork = Autoencoder(hidden=(6,), code=3, **settings)
        batch = batch_of(x, seed=17)
    else:
        model = MLP(hidden=(7, 6), head=head, outputs=HEADS[head], **settings)
        batch = batch_of(x, targets_of(head, 300, rng), seed=17)
    parameters = start(model, 5)
    gradient, other = np.empty(parameters.size), np.empty(parameters.size)
    model.loss_and_grad(parameters, batch, gradient)
    for _ in range(10):
        direction = rng.standard_normal(parameters.size)
        direction /= np.linalg.norm(direction)
        up, down = ((parameters + s * 0.01 * direction).astype(np.float32) for s in (1, -1))
        slope = model.loss_and_grad(up, batch, other) - model.loss_and_grad(down, batch, other)
        moved = up.astype(float) - down
        assert gradient @ moved == pytest.approx(slope, rel=5e-3, abs=2e-5)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_gradient_of_kinked_activations(activation: str, rng: np.random.Generator) -> None:
    """Where no unit changes sides within the step, the loss is smooth."""
    model = MLP(hidden=(4,), activation=activation, head="regression")
    x = np.abs(rng.standard_normal((5, 3))).astype(np.float32) + 1
    batch, parameters = batch_of(x, np.ones(5)), start(model, 3)
    parameters[:12] = [1, 1, 1, -1, -1, -1, 2, 1, 1, -1, -2, -1]
    gradient, other = np.empty(parameters.size), np.empty(parameters.size)
    model.loss_and_grad(parameters, batch, gradient)
    for i in range(parameters.size):
        up, down = parameters.copy(), parameters.copy()
        up[i] += 2**-6
        down[i] -= 2**-6
        slope = model.loss_and_grad(up, batch, other) - model.loss_and_grad(down, batch, other)
        assert gradient[i] == pytest.approx(slope * 32, rel=2e-3, abs=1e-3)


def test_dropout_is_a_function_of_the_batch_s_seed_and_off_in_evaluation(
    rng: np.random.Generator,
) -> None:
    x = rng.standard_normal((200, 4)).astype(np.float32)
    model, y = MLP(hidden=(50,), dropout=0.5), rng.integers(0, 2, 200)
    parameters = start(model, 4)
    gradient = np.empty(parameters.size)
    losses = [model.loss_and_grad(parameters, batch_of(x, y, seed), gradient) for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    plain = MLP(hidden=(50,)).loss_and_grad(parameters, batch_of(x, y), gradient)
    assert model.measure(parameters, batch_of(x, y)).loss / 200 == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize(
    ("activation", "initialisation", "variance"),
    [
        ("relu", "auto", 2 / 400),
        ("tanh", "auto", 2 / (400 + 600)),
        ("relu", "glorot", 2 / (400 + 600)),
        ("tanh", "he", 2 / 400),
    ],
)
def test_first_weights_have_the_variance_of_their_paper(
    activation: str, initialisation: str, variance: float
) -> None:
    model = MLP(hidden=(600,), activation=activation, initialisation=initialisation)
    layout = model.layout((400,))
    views = layout.views(model.init(layout, generator(0, Purpose.PARAMETERS)))
    assert views["layer1.weights"].var() == pytest.approx(variance, rel=0.02)
    assert views["layer2.weights"].var() == pytest.approx(2 / 601, rel=0.2)
    assert not views["layer1.biases"].any()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden": (8, 0)}, "hidden width must be a whole number of at least 1, not 0"),
        ({"hidden": (2.5,)}, "not 2.5"),
        ({"hidden": (True,)}, "hidden width must be a whole number of at least 1, not True"),
        ({"activation": "swish"}, "'swish'; choose one of: relu"),
        ({"initialisation": "zeros"}, "'zeros'; choose one of: auto"),
        ({"dropout": 1.0}, "below 1, not 1.0"),
        ({"weight_decay": -1.0}, "at least 0, not -1.0"),
        ({"head": "ranking"}, "'ranking'; choose one of: regression"),
        ({"head": "binary", "outputs": 3}, "choose the multiclass head"),
        ({"head": "multiclass"}, "at least 2 classes, not 1"),
        ({"outputs": 0}, "at least 1, not 0"),
    ],
)
def test_a_network_that_cannot_be(config: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_config({"name": "mlp", **config})


def test_a_code_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="code must be a whole number of at least 1, not 0"):
        Autoencoder(code=0)


def test_what_is_not_finite_is_found_behind_any_activation(rng: np.random.Generator) -> None:
    """ReLU and tanh would hide an infinity from the loss."""
    x = rng.standard_normal((300, 4)).astype(np.float32)
    x[222, 1] = -np.inf
    for activation in ACTIVATIONS:
        model = MLP(hidden=(5,), activation=activation)
        parameters = start(model, 4)
        with pytest.raises(DataError, match="row 222 of X has -inf in feature 1"):
            model.loss_and_grad(parameters, batch_of(x, np.zeros(300)), np.empty(parameters.size))


def test_features_that_overflow_are_to_be_standardised(rng: np.random.Generator) -> None:
    x = rng.standard_normal((300, 4)).astype(np.float32)
    x[123, 2] = 3e38
    model = MLP(hidden=(5,), head="regression")
    parameters = start(model, 4)
    with pytest.raises(DataError, match=r"row 123 of X has 3e\+38 in feature 2.*standardise"):
        model.loss_and_grad(parameters, batch_of(x, np.zeros(300)), np.empty(parameters.size))


@pytest.mark.parametrize("model", [MLP(hidden=(4, 3)), Autoencoder(hidden=(4,), code=2)], ids=str)
def test_penalties_are_for_weights_and_not_for_biases(model: MLP | Autoencoder) -> None:
    layout = model.layout((5,))
    mask = layout.views(layout.penalised())
    for name, part in mask.items():
        assert part.all() if name.endswith("weights") else not part.any(), name
