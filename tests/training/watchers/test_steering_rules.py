"""Steering by hand: batch sizes and heat at each step, and the whole of what is refused."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.kernels.counters import LOSS_SUM, NEVER, TOTALS
from ooc.optim.settings import HEAT, SETTINGS
from ooc.training.watchers import steering as steerings
from ooc.training.watchers.steering import Steering, SteeringWatcher
from ooc.training.watchers.watcher import Moment

STEPS = Steering(batch=[(4, 40), (10, 100)])
COOLING: Any = [(10, 1.0), (20, 0.25)]
NOTHING = np.zeros(TOTALS)


@pytest.mark.parametrize(
    ("step", "rows", "coming"),
    [(0, 16, 4), (3, 16, 4), (4, 40, 10), (9, 40, 10), (10, 100, None), (99, 100, None)],
)
def test_a_schedule_of_sizes(step: int, rows: int, coming: int | None) -> None:
    """Before its first step the batch is what the run was given, whatever it is at the moment."""
    assert STEPS.decide(16, step, 64, NOTHING) == (rows, 1.0)
    assert STEPS.next_step(step) == coming
    assert STEPS.largest_batch(16) == 100 and STEPS.largest_batch(256) == 256


@pytest.mark.parametrize(
    ("scale", "size", "expected"), [(64, 32, 64), (63.9, 32, 32), (999, 48, 64), (999, 64, 64)]
)
def test_an_automatic_batch_is_doubled_where_the_noise_scale_is_twice_as_large(
    monkeypatch: pytest.MonkeyPatch, scale: float, size: int, expected: int
) -> None:
    monkeypatch.setattr(steerings, "noise_scale_bound", lambda since: scale)
    assert Steering(batch="auto", largest=64).decide(16, 5, size, NOTHING) == (expected, 1.0)


@pytest.mark.parametrize(
    ("by", "largest", "step", "expected"),
    [
        ("rate", None, 0, (16, 1.0)),
        ("rate", None, 15, (16, 0.5)),
        ("rate", None, 30, (16, 0.25)),
        ("batch", 64, 0, (16, 1.0)),
        ("batch", 64, 15, (32, 1.0)),
        ("batch", 64, 20, (64, 1.0)),
        ("batch", 48, 20, (48, 0.75)),
        ("batch", None, 20, (16, 0.25)),
    ],
)
def test_a_temperature_is_met_by_rate_or_batch(
    by: str, largest: int | None, step: int, expected: tuple[int, float]
) -> None:
    """Halfway in steps it is halfway in its logarithm."""
    steering = Steering(temperature=COOLING, by=by, largest=largest, every=10)
    rows, heat = steering.decide(16, step, 7, NOTHING)
    assert (rows, heat) == (expected[0], pytest.approx(expected[1], rel=1e-12))


def test_a_hot_batch_has_a_row_and_the_nearest_whole_number_of_them() -> None:
    for factor, rows in ((64.0, 1), (16 / 5.4, 5), (16 / 5.6, 6)):
        steering = Steering(temperature=[(0, factor)], by="batch", largest=64)
        found, heat = steering.decide(16, 3, 16, NOTHING)
        assert found == rows and heat / rows == pytest.approx(factor / 16, rel=1e-12)


def test_a_schedule_of_sizes_and_a_temperature_meet_in_the_rate() -> None:
    """lr/B is what the temperature says, at any size."""
    both = Steering(batch=[(0, 16), (12, 64)], temperature=COOLING, every=5)
    for step, rows, factor in ((0, 16, 1.0), (15, 64, 0.5), (25, 64, 0.25)):
        found, heat = both.decide(16, step, 16, NOTHING)
        assert (found, heat) == (rows, pytest.approx(factor * rows / 16, rel=1e-12))
    assert [both.next_step(step) for step in (0, 5, 10, 12, 14)] == [5, 10, 12, 15, 15]


def test_decisions_are_made_at_their_steps_alone_and_of_what_came_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All phases of all descents are heated alike; what is restored goes on from there."""
    seen: list[tuple[int, int, float]] = []

    def decide(
        self: Steering, first: int, step: int, size: int, since: np.ndarray
    ) -> tuple[int, float]:
        seen.append((step, size, float(since[LOSS_SUM])))
        return size + 1, 0.5**step

    monkeypatch.setattr(Steering, "decide", decide)
    state = SimpleNamespace(totals=np.zeros((2, TOTALS)), settings=np.zeros((2, 2 * SETTINGS)))
    engine: Any = SimpleNamespace(train_state=state, step=0, batch_size=0)
    watcher = SteeringWatcher(Steering(temperature=[(0, 1.0)], every=3), engine, 16)
    assert seen == [(0, 16, 0.0)] and engine.batch_size == 17
    window: Any = None
    for step, loss, advanced in ((2, 4.0, True), (3, 5.0, False), (3, 5.0, True), (5, 8.0, True)):
        state.totals[:, LOSS_SUM] = loss, 99.0
        assert watcher.after(Moment(step, 0, advanced, False, False, window)) is False
    assert seen[1:] == [(3, 17, 5.0)]
    assert (engine.batch_size, watcher.next_step(5)) == (18, 6)
    heats = np.zeros((2, 2 * SETTINGS))
    heats[:, [HEAT, SETTINGS + HEAT]] = 0.125
    np.testing.assert_array_equal(state.settings, heats)
    kept = watcher.state()
    other: Any = SimpleNamespace(
        train_state=SimpleNamespace(totals=state.totals.copy(), settings=0 * state.settings),
        step=5, batch_size=0,
    )  # fmt: skip
    again = SteeringWatcher(Steering(temperature=[(0, 1.0)], every=3), other, 16)
    again.restore(kept)
    assert other.batch_size == 18
    np.testing.assert_array_equal(other.train_state.settings, heats)
    other.train_state.totals[0, LOSS_SUM] = 9.0
    again.after(Moment(6, 0, True, False, False, window))
    assert seen[-1] == (6, 18, 4.0)
    assert SteeringWatcher(STEPS, other, 16).next_step(10) == NEVER


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"batch": "large"}, 'batch is a schedule of steps and sizes, or "auto", not large'),
    ({"batch": [(-1, 5)]}, "the steps of batch must ascend from 0 or more, not [-1]"),
    ({"batch": []}, "the steps of batch must ascend from 0 or more, not []"),
    ({"batch": [(3, 5), (2, 5)]}, "the steps of batch must ascend from 0 or more, not [3, 2]"),
    ({"batch": [(0, 8), (5, 0.5)]}, "batch at step 5 must be above 0, not 0.5"),
    ({"batch": 7}, "batch is made of pairs of a step and a value, not 7"),
    ({"temperature": [(4, 0.0)]}, "temperature at step 4 must be above 0, not 0.0"),
    ({"temperature": [(4, np.inf)]}, "temperature at step 4 must be above 0, not inf"),
    ({"temperature": [(4, np.nan)]}, "temperature at step 4 must be above 0, not nan"),
    (
        {"temperature": [(0, 1.0)], "by": "batch", "batch": [(0, 8)]},
        'by="batch" needs a temperature, and no batch sizes beside it; use by="rate"',
    ),
    (
        {"by": "batch"},
        'by="batch" needs a temperature, and no batch sizes beside it; use by="rate"',
    ),
    ({}, "there is nothing to steer; give batch= or temperature="),
    ({"batch": "auto"}, "an automatic batch needs a limit; give largest=, such as 4096"),
    ({"batch": [(0, 8)], "every": 0}, "every must be a whole number of at least 1, not 0"),
    ({"batch": [(0, 8)], "largest": 0}, "largest must be a whole number of at least 1, not 0"),
    (
        {"temperature": [(0, 1)], "by": "heart"},
        "a temperature is met by rate or batch, not 'heart'",
    ),
]


@pytest.mark.parametrize(("settings", "told"), REFUSALS)
def test_what_cannot_be_is_told_whole(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as error:
        Steering(**settings)
    assert str(error.value) == told


def test_the_smallest_that_can_be() -> None:
    assert Steering(batch=[(0, 1)]).decide(16, 0, 16, NOTHING) == (1, 1.0)
    assert Steering(temperature=[(0, 1e-9)]).heat(0) == 1e-9
