"""Print what a run on 80 GB would hold, by what it is for, for several budgets."""

import numpy as np

import ooc
from ooc.core.sizes import format_size
from ooc.store.dataset import ArraySpec, Dataset
from ooc.stream.plan import Plan

BATCH_SIZE = 256
ROWS, FEATURES, CHUNK_ROWS = 155_000_000, 128, 1024
BUDGETS = ("256MiB", "512MiB", "1GiB", "4GiB")
TERMS = ("reserved", "slabs", "readers", "model")


def plan_of(memory: str) -> Plan:
    """Plan logistic regression on 80 GB of float32 features, as `ooc make` stores them."""
    features = ArraySpec("X", (ROWS, FEATURES), np.dtype("f4"), (CHUNK_ROWS, FEATURES), None)
    target = ArraySpec("y", (ROWS,), np.dtype("i8"), (CHUNK_ROWS,), None)
    dataset = Dataset("80 GB", {"X": features, "y": target}, "X", "y", None)
    model, optimizer = ooc.models.Logistic(), ooc.optim.sgd(0.1)
    return (
        ooc.Trainer(model, optimizer, BATCH_SIZE, memory=memory, readers=2, window="fit")
        .loader(dataset)
        .plan
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
