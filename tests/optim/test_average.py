"""The exponential average of iterates that every optimizer may keep, beside its own steps."""

from dataclasses import replace

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.models.declarations import Phase
from ooc.models.train_state import start
from ooc.optim import OPTIMIZERS, adam, averaged, optimizer_from_config, sgd

MAKERS = [name for name in OPTIMIZERS if name != "averaged"]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", MAKERS)
def test_the_iterates_stay_the_same_and_the_solution_is_their_average(
    name: str, rng: np.random.Generator
) -> None:
    """Against the recursion over the iterates of the same optimizer without an average."""
    plain, keeps = OPTIMIZERS[name](0.1), OPTIMIZERS[name](0.1, average=0.9)
    w = rng.standard_normal(5)
    other, average = w.copy(), w.copy()
    states = plain.init(5), keeps.init(5)
    for step in range(200):
        gradient = rng.standard_normal(5)
        plain.update(w, gradient.copy(), states[0], step)
        keeps.update(other, gradient.copy(), states[1], step)
        kept = min(0.9, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * w
        np.testing.assert_array_equal(other, w)
    np.testing.assert_allclose(keeps.solution(other, states[1]), average, rtol=1e-9)
    assert len(states[1]) == keeps.state_rows(5) == plain.slots + 1
    assert optimizer_from_config(keeps.to_config()) == keeps


@pytest.mark.parametrize("keeps", [-0.1, 1.0, float("nan")])
def test_an_average_that_never_moves_is_refused(keeps: float) -> None:
    with pytest.raises(InputError, match="average must be"):
        adam(0.1, average=keeps)


def test_two_averages_are_refused() -> None:
    with pytest.raises(InputError, match=r"averaged keeps an average .* leave out average=0.9"):
        averaged(0.1, average=0.9)


def test_steps_leave_out_no_entry_of_an_average() -> None:
    assert sgd(0.1).leaves_out
    assert not sgd(0.1, average=0.9).leaves_out
    assert not sgd(0.1, l2=0.1, average=0.9).can_be_lazy


class Turns:
    """A model of which one phase has an optimizer of its own."""

    def __init__(self, own: object) -> None:
        self.phases = (Phase("first", 2, own), Phase("second", 1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "own", "says"),
    [
        (averaged(0.1), adam(0.1), "averaged keeps its average where adam of phase first"),
        (sgd(0.1, average=0.9), adam(0.1), "sgd keeps its average where adam of phase first"),
        (adam(0.1), adam(0.1, average=0.9), "the trainer's adam keeps none; give it average=0.9"),
    ],
)
def test_a_phase_whose_state_would_be_taken_for_an_average_is_refused(
    given: object, own: object, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        start((given,), np.zeros(3, np.float32), Turns(own))  # type: ignore[arg-type]


def test_a_phase_without_an_average_keeps_its_iterates() -> None:
    given = adam(0.1, average=0.9)
    for own, rows in ((adam(0.2), 3), (replace(given, rate=0.2), 3), (sgd(0.1), 3)):
        state = start((given,), np.zeros(3, np.float32), Turns(own))  # type: ignore[arg-type]
        assert state.state.shape == (1, rows, 3)
