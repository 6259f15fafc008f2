"""PyTorch's own optimizers take the same steps from the same gradients, under its own schedules."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ooc.kernels.losses import LOSSES
from ooc.optim import OPTIMIZERS, sgd
from ooc.optim.schedules import (
    constant,
    cosine,
    inverse_scaling,
    plateau,
    plateau_factor,
    staircase,
)

torch = pytest.importorskip("torch")

SIZE, STEPS, RATE = 40, 200, 0.05
THEIRS: dict[str, Callable[..., Any]] = {
    "sgd": torch.optim.SGD,
    "momentum": lambda p, **more: torch.optim.SGD(p, momentum=0.9, **more),
    "nesterov": lambda p, **more: torch.optim.SGD(p, momentum=0.9, nesterov=True, **more),
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "averaged": torch.optim.SGD,
}
SCHEDULES = {
    "constant": (constant(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0)),
    "warmup": (
        constant(warmup=20),
        lambda o: torch.optim.lr_scheduler.LinearLR(o, 1 / 20, 1.0, total_iters=19),
    ),
    "inverse_scaling": (
        inverse_scaling(30, 0.75),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: (1 + step / 30) ** -0.75),
    ),
    "step": (staircase(30, 0.5), lambda o: torch.optim.lr_scheduler.StepLR(o, 30, 0.5)),
    "cosine": (
        cosine(STEPS, 0.2),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.2 * RATE),
    ),
}


class Vector(torch.nn.Module):
    def __init__(self, start: np.ndarray) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.from_numpy(start.astype(np.float64)))


def compare(name: str, schedule: str, l2: float, clip: float | None) -> None:
    rng = np.random.default_rng(11)
    ours, scheduler_of = SCHEDULES[schedule]
    optimizer = OPTIMIZERS[name](RATE, l2=l2, clip_norm=clip, schedule=ours)
    parameters = rng.standard_normal(SIZE).astype(np.float32)
    twin, state = Vector(parameters), optimizer.init(SIZE)
    average = torch.optim.swa_utils.AveragedModel(twin)
    # Theirs has no L2 penalty beside the decoupled one, so it is given as part of the gradient.
    own = {"weight_decay": l2} if name != "adamw" else {}
    theirs = THEIRS[name](twin.parameters(), lr=RATE, **own)
    scheduler = scheduler_of(theirs)
    for step in range(STEPS):
        gradient = rng.standard_normal(SIZE) * np.linspace(0.01, 3, SIZE)
        twin.values.grad = torch.from_numpy(gradient.copy())
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(twin.parameters(), clip)
        if name == "adamw":
            twin.values.grad += l2 * twin.values.detach()
        optimizer.update(parameters, gradient, state, step)
        theirs.step()
        scheduler.step()
        average.update_parameters(twin)
    expected = (average.module if name == "averaged" else twin).values.detach().numpy()
    found = optimizer.solution(parameters, state)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("l2", "clip"), [(0.0, None), (0.1, None), (0.0, 2.0), (0.1, 2.0)])
@pytest.mark.parametrize("name", THEIRS)
def test_it_takes_the_same_steps(name: str, l2: float, clip: float | None) -> None:
    compare(name, "constant", l2, clip)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", THEIRS)
def test_it_takes_the_same_steps_under_a_schedule(name: str, schedule: str) -> None:
    compare(name, schedule, 0.01, None)


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_it_lowers_the_rate_on_the_same_plateaus(patience: int) -> None:
    losses = np.random.default_rng(5).random(200).cumsum() % 3
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, factor=0.5, patience=patience - 1, threshold=0.0, eps=0.0
    )
    for seen in range(1, len(losses) + 1):
        scheduler.step(losses[seen - 1])
        expected = theirs.param_groups[0]["lr"]
        assert plateau_factor(plateau(0.5, patience), losses[:seen].tolist()) == expected


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("huber", lambda p, t: torch.nn.functional.huber_loss(p, t, delta=1.35)),
        ("poisson", lambda p, t: torch.nn.functional.poisson_nll_loss(p, t)),
        ("logistic", torch.nn.functional.binary_cross_entropy_with_logits),
        ("squared", lambda p, t: 0.5 * torch.nn.functional.mse_loss(p, t)),
    ],
)
def test_its_losses_and_slopes_are_the_same(name: str, theirs: Callable[..., Any]) -> None:
    loss = LOSSES[name]
    constants = (loss.constant or 0.0,)
    for place in np.linspace(-5, 5, 41):
        for target in (0.0, 1.0):
            prediction = torch.tensor(place, dtype=torch.float64, requires_grad=True)
            expected = theirs(prediction, torch.tensor(target, dtype=torch.float64))
            expected.backward()
            value, slope = loss.pair(place, target, *constants)
            assert value == pytest.approx(float(expected.detach()), rel=1e-12, abs=1e-12)
            assert slope == pytest.approx(float(prediction.grad), rel=1e-12, abs=1e-12)


def test_scheduled_rates_are_those_of_sgd_steps() -> None:
    """A gradient of 1 makes a step the rate itself."""
    parameters = np.zeros(1, np.float32)
    sgd(RATE, schedule=staircase(1, 0.5)).update(parameters, np.ones(1), np.zeros((0, 1)), 3)
    assert parameters[0] == pytest.approx(-RATE / 8)
