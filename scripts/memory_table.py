"""Print what a run on 80 GB would hold, by what it is for, for several budgets."""

import numpy as np

from ooc.core.sizes import format_size
from ooc.engines.engine import engine_bytes
from ooc.models import Logistic
from ooc.optim import sgd
from ooc.store.dataset import ArraySpec, Dataset
from ooc.stream.options import StreamOptions
from ooc.stream.plan import Demand, Plan, make_plan

BATCH_SIZE = 256
ROWS, FEATURES, CHUNK_ROWS = 155_000_000, 128, 1024
BUDGETS = ("448MiB", "512MiB", "1GiB", "4GiB")
TERMS = ("reserved", "slabs", "readers", "model")


def plan_of(memory: str) -> Plan:
    """Plan logistic regression on 80 GB of float32 features, as `ooc make` stores them."""
    features = ArraySpec("X", (ROWS, FEATURES), np.dtype("f4"), (CHUNK_ROWS, FEATURES), None)
    target = ArraySpec("y", (ROWS,), np.dtype("i8"), (CHUNK_ROWS,), None)
    dataset = Dataset("80 GB", {"X": features, "y": target}, "X", "y", None)
    model, layout = Logistic(), Logistic().layout((FEATURES,))
    return make_plan(
        dataset,
        BATCH_SIZE,
        ("X", "y"),
        StreamOptions(memory=memory, readers=2),
        Demand(engine_bytes(model, layout, (sgd(0.1),), BATCH_SIZE, full=False), batch_copies=0),
    )


def main() -> None:
    """Print the table as Markdown."""
    print(f"| budget | {' | '.join(TERMS)} | projected | rows in a window |")
    print("| --- " * (len(TERMS) + 3) + "|")
    for memory in BUDGETS:
        plan = plan_of(memory)
        cells = [format_size(plan.terms[name]) for name in TERMS]
        window = f"{plan.order.window_rows:,} of {plan.order.blocks_per_window:,} blocks"
        print(f"| {memory} | {' | '.join(cells)} | {format_size(plan.projected)} | {window} |")


if __name__ == "__main__":
    main()
