"""Finds a learning rate that the user did not give: a short range test on the first window.

TrainState of a few hundred steps are tried at rates a factor of four apart, each from the same
parameters, and judged on rows of the same window that they did not see (the range test of Smith
2017, with held-out rows for a judge).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ooc.core.errors import DataError, DivergedError, InputError
from ooc.engines.engine import make_engine
from ooc.kernels.counters import LOSS_SUM
from ooc.models.bad_rows import LARGEST_FEATURE
from ooc.models.contract import Model
from ooc.models.declarations import first_rate, loss_unit_of
from ooc.models.step_kernels import with_lazy_penalties
from ooc.models.train_state import start
from ooc.optim import Optimizer, as_method, sgd
from ooc.optim.schedules import UNCHANGED
from ooc.optim.settings import RATE
from ooc.store.sparse_rows import is_matrix
from ooc.stream.loader import Loader
from ooc.stream.window import Window
from ooc.training.statistics import wildest

# Steps of one trial, or its rows where batches are small: noise is felt after many steps only.
MOST_STEPS = 400
LEAST_ROWS = 2**14
# The fewest steps, the share of the window's rows that judge it, and rates that are tried.
FEWEST_STEPS = 8
JUDGE_SHARE = 0.2
MOST_JUDGES = 2**15
FACTOR = 4.0
MOST_TRIALS = 16
# A smaller rate whose loss is worse by less than this share is preferred: it is safer later on.
TOLERANCE = 1e-3
# Less than this share of the first loss is no gain: noise, or so weak a signal that the judges
# cannot tell. Any rate that loses no more will do, and the largest of them learns most.
NO_GAIN = 5e-3
# Where the mean loss on the way is above the first one by more than this share, steps are too long.
RISE = 0.02


@dataclass(frozen=True)
class Found:
    """The rate that a range test chose, and of all that it tried, ascending, the loss after it.

    A loss is infinite where the descent diverged.
    """

    rate: float
    trials: Mapping[float, float]


def find_rate(model: Model, optimizer: Optimizer, loader: Loader, parameters: np.ndarray) -> Found:
    """Try learning rates on the run's first window, and choose one.

    Parameters
    ----------
    model, optimizer
        What is to be trained, and how; its own rate and schedule are not looked at.
    loader
        The run's own; its position stays.
    parameters
        (P,) float32, where the run starts; unchanged.

    Raises
    ------
    InputError
        If there are too few rows, or every rate diverges.
    """
    # Its memory is there as long as the walk goes on.
    window = next(walk := loader.looked_at())
    most = max(MOST_STEPS * loader.plan.batch_size, LEAST_ROWS)
    judges = min(int(JUDGE_SHARE * len(window.order)), MOST_JUDGES)
    trainings = min(most, len(window.order) - judges)
    if judges < 1 or trainings < 1:
        raise InputError(
            f"{loader.dataset.path} has too few rows to find a learning rate; give one with lr="
        )
    batch = max(1, min(loader.plan.batch_size, trainings // FEWEST_STEPS))
    training = replace(window, order=window.order[:trainings], start=0, last=False)
    judging = replace(window, order=window.order[-judges:], start=0, last=True)

    def judged(values: np.ndarray) -> float:
        if not np.isfinite(values).all():
            return math.inf
        rows = min(loader.plan.batch_size, judges)
        loss = _descent(model, None, values, loader, judging, rows)[1]
        return loss if math.isfinite(loss) else math.inf

    before = judged(parameters)
    # Rows that are trained on may lie further from the model than those that judge.
    at_first = _descent(model, None, parameters, loader, training, batch)[1]

    def loss_after(rate: float) -> float:
        """Return the loss after a descent at this rate; infinite where it went up on the way."""
        try:
            tried = optimizer.with_rate(rate)
            after, on_the_way = _descent(model, tried, parameters, loader, training, batch)
            return judged(after) if on_the_way <= at_first + RISE * abs(at_first) else math.inf
        except DivergedError:
            return math.inf
        except DataError as error:
            # Rows that are finite and were fine at the start: the parameters have grown too large.
            if "overflow" in str(error):
                return math.inf
            raise

    sample = window.features[training.order[:256]].astype(np.float64)
    if not is_matrix(sample):
        sample = sample.reshape(len(sample), -1)
    centre = first_rate(model, optimizer.reach, sample)
    found = _search(loss_after, centre, before)
    if found is None:
        wild = wildest(window, window.roles[0], LARGEST_FEATURE)
        raise wild or InputError(
            "every learning rate that was tried diverges on the first window; give a small one "
            "with lr=, standardise the features, or choose another model"
        )
    del walk
    unit = loss_unit_of(model, model.layout(loader.dataset.row_shape), parameters)
    return Found(found.rate, {rate: unit * loss for rate, loss in found.trials.items()})


def _search(loss_after: Callable[[float], float], centre: float, before: float) -> Found | None:
    """Walk up, then down, until losses rise; then look between the best and its neighbours.

    None if every rate diverges.
    """
    tried: dict[float, float] = {}

    def walk(rate: float, factor: float) -> None:
        worse = 0
        while len(tried) < MOST_TRIALS and worse < 2:
            if rate not in tried:
                tried[rate] = loss_after(rate)
            is_best = tried[rate] == min(tried.values()) < math.inf
            if factor < 1 and before - tried[rate] < TOLERANCE * abs(before):
                is_best = False  # a rate that learned nothing: smaller ones learn even less
            # Below a rate that diverges another one may do so, too: go on down.
            diverges_below = factor < 1 and tried[rate] == math.inf
            worse = 0 if is_best or diverges_below else worse + 1
            rate *= factor

    walk(centre, FACTOR)
    walk(centre, 1 / FACTOR)
    best = min(tried, key=tried.__getitem__)
    for between in (best / math.sqrt(FACTOR), best * math.sqrt(FACTOR)):
        tried[between] = loss_after(between)
    least = min(tried.values())
    if not math.isfinite(least):
        return None
    gain = before - least
    if gain < NO_GAIN * abs(before):
        enough = least + NO_GAIN * abs(before)
        chosen = max(rate for rate, loss in tried.items() if loss <= enough)
    else:
        # Of a loss that began astronomically far away a share is still far away.
        enough = least + TOLERANCE * min(gain, 10 * abs(least))
        chosen = min(rate for rate, loss in tried.items() if loss <= enough)
    return Found(chosen, dict(sorted(tried.items())))


def _descent(
    model: Model,
    optimizer: Optimizer | None,
    parameters: np.ndarray,
    loader: Loader,
    window: Window,
    batch: int,
) -> tuple[np.ndarray, float]:
    """Return the parameters after a descent on a window, and the mean loss on the way.

    Without an optimizer steps have no length: so nothing is compiled but what training needs.
    """
    chosen = sgd(1.0) if optimizer is None else replace(optimizer, schedule=UNCHANGED)
    most = max(loader.plan.batch_size, loader.plan.largest_batch)
    methods = with_lazy_penalties([as_method(chosen)], model, loader.dataset, most)
    train_state = start(methods, parameters, model)
    if optimizer is None:
        train_state.settings[0, RATE] = 0.0
    engine = make_engine(model, loader, train_state)
    engine.batch_size = batch
    engine.advance(replace(window))
    return train_state.solution(), float(train_state.totals[0, LOSS_SUM]) / max(engine.rows, 1)
