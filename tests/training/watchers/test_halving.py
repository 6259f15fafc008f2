"""When descents are dropped, and which: by hand, over the rows since, or those held out."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.kernels.counters import LOSS_SUM, NEVER
from ooc.training.watchers.halving import Halving, HalvingWatcher
from ooc.training.watchers.watcher import Moment


@pytest.mark.parametrize(
    ("halving", "models", "steps", "rungs"),
    [
        (Halving(3), 10, 900, (33, 100, 300)),  # 10, 4, 2, 1
        (Halving(3), 9, 900, (100, 300)),  # 9, 3, 1
        (Halving(least=3), 10, 800, (200, 400)),  # 10, 5, 3
        (Halving(least=4), 4, 800, ()),
        (Halving(), 1, 800, ()),
        (Halving(), 8, 5, (1, 2)),  # at 5/8 of a step nothing is known
    ],
)
def test_rungs_lie_at_powers_of_the_factor(
    halving: Halving, models: int, steps: int, rungs: tuple[int, ...]
) -> None:
    assert halving.rungs(models, steps) == rungs


class Descents:
    """What halving knows of several descents."""

    def __init__(self, count: int) -> None:
        self.totals, self.active = np.zeros((count, 64)), np.ones(count, bool)
        self.logged: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.active)

    def recorders(self) -> list[Any]:
        def of(number: int) -> Any:
            return SimpleNamespace(log=lambda now: self.logged.append((number, now.step)))

        return [of(number) for number in range(len(self))]


def moment(step: int, advanced: bool = True) -> Moment:
    window: Any = None
    return Moment(step, 0, advanced, False, False, window)


def watcher_of(
    descents: Descents, halving: Halving, steps: int, *evaluated: list[float]
) -> HalvingWatcher:
    engine: Any = SimpleNamespace(train_state=descents)
    validators: Any = [SimpleNamespace(losses=losses) for losses in evaluated]
    return HalvingWatcher(halving, engine, steps, descents.recorders(), validators)


def test_the_last_evaluation_ranks_where_all_have_one() -> None:
    """Neither the best one of each, nor the loss over the rows of training; equal ones stay."""
    descents = Descents(5)
    evaluated = [[0.1, 5.0], [3.0, 2.0], [9.0, 1.0], [4.0, 2.0], [0.2, 8.0]]
    watcher = watcher_of(descents, Halving(least=2), 80, *evaluated)
    assert [watcher.next_step(step) for step in (0, 19, 20, 40)] == [20, 20, 40, NEVER]
    descents.totals[:, LOSS_SUM] = [1, 2, 3, 4, 5]
    assert watcher.after(moment(20, advanced=False)) is False and descents.active.all()
    assert watcher.after(moment(21)) is False and descents.active.all()
    watcher.after(moment(20))
    assert np.flatnonzero(descents.active).tolist() == [1, 2, 3]
    assert descents.logged == [(0, 20), (4, 20)]
    watcher.after(moment(40))
    assert np.flatnonzero(descents.active).tolist() == [1, 2], "two are kept to the end"
    told = {number: watcher.results(number) for number in range(5)}
    dropped = {0: 20, 4: 20, 3: 40}
    for number, results in told.items():
        step = dropped.get(number)
        expected = {} if step is None else {"dropped": f"among the worst after step {step}"}
        assert results == expected


def test_where_one_has_no_evaluation_yet_rows_of_training_rank() -> None:
    descents = Descents(3)
    watcher = watcher_of(descents, Halving(3), 30, [1.0], [2.0], [])
    descents.totals[:, LOSS_SUM] = [3, 2, 1]
    watcher.after(moment(10))
    assert np.flatnonzero(descents.active).tolist() == [2]


def test_one_of_so_many_is_kept_of_those_that_are_left_rounded_up() -> None:
    """Two were left behind before; of the other seven, three, and of these, one."""
    descents = Descents(9)
    watcher = watcher_of(descents, Halving(3), 90)
    descents.active[[0, 1]] = False
    descents.totals[:, LOSS_SUM] = [0, 0, 7, 6, 5, np.nan, 3, 2, 1]
    watcher.after(moment(10))
    assert np.flatnonzero(descents.active).tolist() == [6, 7, 8]
    descents.totals[6:, LOSS_SUM] = [3.5, 3, 2]
    watcher.after(moment(30))
    assert np.flatnonzero(descents.active).tolist() == [6]


def test_settings_that_cannot_be() -> None:
    for how, told in (
        ({"factor": 1}, "factor must be a whole number of at least 2, not 1"),
        ({"least": 0}, "least must be a whole number of at least 1, not 0"),
    ):
        with pytest.raises(InputError) as error:
            Halving(**how)
        assert str(error.value) == told
