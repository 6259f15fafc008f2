"""Does a run fit its budget, whatever its rows will decide? Asked before one of them is read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ooc.core.compiler import parts_of
from ooc.core.errors import TooSmallError
from ooc.engines.engine import demand_of, local_bytes
from ooc.engines.synchronisation import EVERY_STEP, Synchronisation
from ooc.models.contract import Model
from ooc.models.declarations import arrays_of, dtype_of, widest
from ooc.optim import Method
from ooc.runs.scoring import check_scorable, check_targets, scoring_demand
from ooc.store.dataset import Dataset
from ooc.stream.loader import names_of
from ooc.stream.options import StreamOptions
from ooc.stream.plan import Demand, Plan, budget_of, fitted, make_plan
from ooc.training.statistics import pass_over
from ooc.training.watchers.validation import Validation


@dataclass(frozen=True)
class Needs:
    """What a run holds is a function of this, beside its model.

    Attributes
    ----------
    batch_size, largest_batch
        Rows of the first batch, and of the largest that steering may ask for.
    full
        Whether a batch is all rows.
    held
        What the process held before, see `ooc.stream.plan.held_bytes`.
    synchronisation
        How often lanes meet.
    """

    methods: Sequence[Method]
    batch_size: int
    largest_batch: int
    full: bool
    stream: StreamOptions
    validation: Validation | None
    held: int
    synchronisation: Synchronisation = EVERY_STEP

    def demand(self, model: Model, dataset: Dataset, validation: Plan | None) -> Demand:
        """Return what is needed beside windows; `validation` is the plan of its rows, if any."""
        methods = self.methods
        demand = demand_of(
            model, dataset, methods, self.largest_batch, self.full, self.held, self.stream.lanes
        )
        if self.synchronisation.local_steps > 1:
            local = local_bytes(model, dataset, methods, self.largest_batch, self.stream.lanes)
            demand = replace(demand, model_bytes=demand.model_bytes + local)
        if validation is None:
            return demand
        beside = validation.projected - validation.terms["reserved"] - self.held
        best = dtype_of(model).itemsize * model.layout(dataset.row_shape).size * len(methods)
        return replace(demand, model_bytes=demand.model_bytes + beside + best)

    def scoring(self) -> dict[str, Any]:
        """Return the options by which rows are evaluated: the smallest loader that there is."""
        kept = ("memory", "missing_values", "on_bad_chunk")
        return {name: getattr(self.stream, name) for name in kept} | {"readers": 2, "window": 1}


def check_fits(needs: Needs, model: Model, dataset: Dataset) -> None:
    """Refuse a budget that is too small for any plan of a run, and name one that is enough.

    What is left to the rows counts as what takes most. Kernels are compiled only for a validation:
    a model's outputs are known when it has run.
    """
    arrays_of(model, dataset)  # which refuses what the model lacks
    check_targets(model, dataset)
    if needs.validation is not None:
        held_out = needs.validation.largest_sides(dataset)[1]
        check_targets(model, held_out)
        check_scorable(model, held_out, dataset.row_shape)
    settled = widest(model, dataset.arrays[dataset.features].is_sparse)

    def plan_all(budget: int) -> None:
        at = replace(needs, stream=replace(needs.stream, memory=budget))
        refused = []
        for plan in (_plan_run, _plan_moments):
            for each in (model, settled):
                try:
                    plan(at, each, dataset)
                except TooSmallError as error:
                    refused.append(error)
        if refused:
            raise max(refused, key=lambda error: error.needed)

    budget = budget_of(needs.stream.memory)
    if needs.validation is not None:
        fitted(plan_all, budget)
    else:
        parts_of(lambda: fitted(plan_all, budget))


def _plan_run(needs: Needs, model: Model, dataset: Dataset) -> None:
    """Plan training, with evaluation on the way."""
    names, scored = arrays_of(model, dataset), None
    if needs.validation is not None:
        dataset, held_out = needs.validation.largest_sides(dataset)
        layout = model.layout(dataset.row_shape)
        rows, read, demand = scoring_demand(model, layout, held_out, True, needs.held)
        scoring = StreamOptions(shuffle="none", **needs.scoring())
        scored = make_plan(held_out, rows, names_of(held_out, read, scoring), scoring, demand)
    used = names_of(dataset, names, needs.stream)
    demand = needs.demand(model, dataset, scored)
    make_plan(dataset, min(needs.batch_size, dataset.rows), used, needs.stream, demand)


def _plan_moments(needs: Needs, model: Model, dataset: Dataset) -> None:
    """Plan the pass that standardises, where there is one."""
    if getattr(model, "standardise", False) is True:
        names = names_of(dataset, arrays_of(model, dataset), needs.stream)
        pass_ = pass_over(dataset, names, dataset.features, needs.stream, needs.held)
        make_plan(dataset, 1, *pass_)
