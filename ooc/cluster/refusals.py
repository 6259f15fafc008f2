"""What lanes cannot do, said before any work; and why a step could not be taken, after it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ooc.cluster.messages import BadRow, Share
from ooc.cluster.traffic import Serving
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.models.bad_rows import explain
from ooc.models.contract import Model
from ooc.models.lane_shares import Refusal
from ooc.models.scratch import has_lanes
from ooc.models.step_kernels import kernel_for_steps, with_lazy_penalties
from ooc.models.train_state import TrainState, rate_of_step
from ooc.optim import Method
from ooc.store.dataset import Dataset
from ooc.stream.window import Window


class LaneEngine(Protocol):
    """An engine whose rows are with those that serve its lanes."""

    model: Model
    train_state: TrainState
    window: Window | None

    @property
    def serving(self) -> Serving:
        """Who serves the lanes."""

    @property
    def step(self) -> int:
        """The step at hand."""


def refused(
    engine: LaneEngine, refusal: Refusal, share: Share | None
) -> DataError | DivergedError | InputError:
    """Say why a row cannot be used, as who serves its share sees it; None for no row."""
    if share is None:
        return diverged(engine)
    asked = {share.lane: (*share, refusal.row)}
    found = BadRow(*engine.serving.ask_lanes("rows", asked)[share.lane])
    rate = rate_of_step(engine.model, engine.train_state.settings[0], engine.step)
    where = f" (step {engine.step}, learning rate {rate:g}, lane {share.lane})"
    assert engine.window is not None, "a row is refused in a window"
    return explain(
        engine.model, refusal.status, found.row, np.asarray(found.features),
        found.target, found.weight, where, engine.window.roles,
    )  # fmt: skip


def diverged(engine: LaneEngine) -> DivergedError:
    """Say that a loss is not finite, whoever's rows it is of."""
    rate = rate_of_step(engine.model, engine.train_state.settings[0], engine.step)
    return DivergedError(
        f"the loss is not finite (step {engine.step}, learning rate {rate:g}), whose data are "
        "finite: the steps are too long; lower the learning rate, or standardise the features"
    )


def check_served(
    what: str, model: Model, dataset: Dataset, methods: Sequence[Method], batch: int, lanes: int
) -> None:
    """Refuse what cannot be shared out by lanes; `what` says by whom.

    Raises
    ------
    InputError
        That says what to do instead.
    """
    if lanes < 2:
        raise InputError(
            f"{what} shares out a run by its lanes, and it has one; give lanes=2 or more, such "
            "as the workers' threads: the bits depend on lanes, and never on workers"
        )
    if any(method.full is not None for method in methods):
        names = ", ".join(method.name for method in methods)
        raise InputError(f"{names} asks for passes of its own; train it on one machine")
    methods = with_lazy_penalties(methods, model, dataset, batch)
    kernel = kernel_for_steps(model, dataset, [each.optimizer for each in methods], batch)
    layout = model.layout(dataset.row_shape)
    if kernel is None:
        raise InputError(
            f"{model.name} declares no kernel, and is trained batch by batch on one machine"
        )
    if not has_lanes(layout, kernel, lanes):
        raise InputError(
            f"steps of {model.name} change but the parameters that a batch's rows touch; train it "
            "on one machine"
        )
