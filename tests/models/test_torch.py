"""The same network in PyTorch takes the same steps."""

import numpy as np
import pytest

from ooc.core.random_keys import Purpose, generator
from ooc.kernels.activations import ACTIVATIONS
from ooc.models import MLP, Autoencoder
from ooc.models.network import DenseNetwork
from ooc.optim import adam, momentum, sgd
from ooc.stream.batch import Batch

torch = pytest.importorskip("torch")

STEPS, ROWS, FEATURES = 100, 96, 12
MODULES = {
    "relu": torch.nn.ReLU,
    "leaky_relu": torch.nn.LeakyReLU,
    "tanh": torch.nn.Tanh,
    "sigmoid": torch.nn.Sigmoid,
    "gelu": torch.nn.GELU,
    "softplus": torch.nn.Softplus,
    "identity": torch.nn.Identity,
}
OPTIMIZERS = {
    "sgd": (sgd(0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
    "momentum": (momentum(0.02), lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9)),
    "adam": (adam(0.001), lambda p: torch.optim.Adam(p, lr=0.001)),
}
HEADS = {"regression": 3, "binary": 1, "multiclass": 4}


def same_in_torch(model: DenseNetwork, parameters: np.ndarray) -> "torch.nn.Sequential":
    parts = list(model.layout((FEATURES,)).views(parameters).values())
    modules: list[torch.nn.Module] = []
    for weights, biases in zip(parts[::2], parts[1::2], strict=True):
        linear = torch.nn.Linear(*weights.shape[::-1])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weights))
            linear.bias.copy_(torch.from_numpy(biases))
        modules += [linear, MODULES[model.activation]()]
    return torch.nn.Sequential(*modules[:-1])


def torch_loss(head: str, scores: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
    if head == "multiclass":
        return torch.nn.functional.cross_entropy(scores, y.long())
    if head == "binary":
        return torch.nn.functional.binary_cross_entropy_with_logits(scores[:, 0], y.float())
    return 0.5 * ((scores - y.reshape(scores.shape)) ** 2).sum(dim=1).mean()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("head", "activation"),
    [
        *(("binary", name) for name in ACTIVATIONS),
        ("regression", "tanh"),
        ("multiclass", "relu"),
        ("reconstruction", "gelu"),
    ],
)
def test_it_agrees_over_a_hundred_steps(head: str, activation: str, optimizer: str) -> None:
    """Losses and parameters to 1e-5, each step on other rows."""
    rng = np.random.default_rng(11)
    model: DenseNetwork
    if head == "reconstruction":
        model = Autoencoder((10,), activation, code=4)
    else:
        model = MLP((16, 10), activation, head=head, outputs=HEADS[head])
    layout = model.layout((FEATURES,))
    parameters = model.init(layout, generator(3, Purpose.PARAMETERS))
    twin = same_in_torch(model, parameters)
    ours, theirs = OPTIMIZERS[optimizer][0], OPTIMIZERS[optimizer][1](twin.parameters())
    state, gradient = ours.init(layout.size), np.empty(layout.size)
    for step in range(STEPS):
        x = rng.standard_normal((ROWS, FEATURES)).astype(np.float32)
        if head == "regression":
            y = rng.standard_normal((ROWS, HEADS[head])).astype(np.float32)
        elif head == "reconstruction":
            y = x
        else:
            y = rng.integers(0, max(2, HEADS[head]), ROWS)
        roles = ("X", None if head == "reconstruction" else "y", None)
        batch = Batch({"X": x, "y": y}, np.arange(ROWS), step, 0, roles)
        loss = model.loss_and_grad(parameters, batch, gradient)
        ours.update(parameters, gradient, state, step)
        theirs.zero_grad()
        expected = torch_loss(head, twin(torch.from_numpy(x)), torch.from_numpy(y))
        expected.backward()
        theirs.step()
        assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    flat = np.concatenate([part.detach().numpy().ravel() for part in twin.parameters()])
    np.testing.assert_allclose(parameters, flat, rtol=1e-5, atol=1e-5)
