"""What a worker holds that serves some lanes: a pure function of the plan and the model."""

from collections.abc import Sequence

from ooc.core.errors import TooSmallError
from ooc.core.sizes import format_size
from ooc.models.contract import Model
from ooc.models.scratch import dataset_columns, loop_bytes
from ooc.models.step_kernels import kernel_for_steps
from ooc.models.train_state import train_state_bytes
from ooc.optim import Optimizer
from ooc.store.dataset import Dataset
from ooc.stream.lanes import lane_plan
from ooc.stream.plan import Plan


def lane_bytes(
    model: Model,
    dataset: Dataset,
    optimizers: Sequence[Optimizer | None],
    plan: Plan,
    local: bool = False,
) -> int:
    """Return the bytes of one lane's part of the compiled loop; 0 for a model without a kernel.

    `local` where it takes steps of its own, with parameters and an optimizer state.
    """
    kernel = kernel_for_steps(model, dataset, optimizers, plan.largest_batch)
    if kernel is None:
        return 0
    layout, columns = model.layout(dataset.row_shape), dataset_columns(model, dataset)
    most, lanes = plan.largest_batch, plan.order.lanes
    own = 0
    if local:
        own = train_state_bytes(model, layout, [each for each in optimizers if each is not None])
    return own + loop_bytes(model, layout, kernel, columns, most, len(optimizers), lanes=lanes)


def lane_terms(plan: Plan, lanes: int, one_lane: int, held: int = 0) -> dict[str, int]:
    """Return what a worker holds that serves so many lanes, in bytes, by what it is for.

    Parameters
    ----------
    plan
        Of the whole stream; one lane's part of the loop is among its model's bytes.
    one_lane
        What `lane_bytes` returned.
    held
        What the worker held before, see `ooc.stream.plan.held_bytes`.
    """
    terms = {**lane_plan(plan, 0, lanes).terms, "held": held}
    terms["model"] += (lanes - 1) * one_lane
    return {name: size for name, size in terms.items() if size}


def check_lanes(plan: Plan, lanes: int, one_lane: int, held: int, where: str) -> None:
    """Refuse lanes that do not fit the budget, which is each worker's own; `where` names it.

    Raises
    ------
    TooSmallError
        With both numbers.
    """
    terms = lane_terms(plan, lanes, one_lane, held)
    needed = sum(terms.values())
    if needed > plan.budget:
        shown = ", ".join(f"{name} {format_size(size)}" for name, size in terms.items())
        raise TooSmallError(
            f"the budget of {format_size(plan.budget)} for each worker is below the "
            f"{format_size(needed)} that {lanes} lanes need in {where} ({shown}); raise the memory "
            f"to {-(-needed // 2**20)}MiB, or start more workers",
            needed,
        )
