"""Who runs to the optimum, and among which settings each may choose its best.

A rate is each tool's own: of a step along a batch's mean gradient for ooc and PyTorch, of a step
at each row for the others. Averages of iterates and falling rates are what theory asks for here,
and each tool gets its own form of them.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from peers.catalogue import ALL_PEERS, OOC, Peer

Settings = tuple[str, ...]


@dataclass(frozen=True)
class Contender:
    """A tool with the settings that it may choose among.

    Attributes
    ----------
    name
        What the table calls it.
    peer
        Its script.
    fixed
        Settings that all candidates share.
    candidates
        Settings among which the fastest is searched.
    """

    name: str
    peer: Peer
    fixed: Settings
    candidates: tuple[Settings, ...]


def _grid(fixed: Iterable[str], **values: Sequence[object]) -> tuple[Settings, ...]:
    """Return the fixed settings with every combination of the others."""
    named = [[f"{name}={value:g}" for value in given] for name, given in values.items()]
    return tuple((*fixed, *chosen) for chosen in itertools.product(*named))


def _vowpal(options: str, rates: Sequence[float]) -> tuple[Settings, ...]:
    return tuple((f"options={options} --learning_rate {rate:g}",) for rate in rates)


SGD_CLASSIFIER = (
    *_grid(["schedule=constant"], rate=(2.5e-5, 5e-5, 1e-4)),
    *_grid(["schedule=constant"], rate=(4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3), average=(1, 20_000)),
    *_grid(["schedule=invscaling"], rate=(0.02, 0.04, 0.08), power=(0.5,)),
    *_grid(["schedule=optimal"], alpha=(0.02, 0.04, 0.08)),
)

# Rates that ooc's own range test finds, in the run's time; and rates given, as the peers have.
# The first is what ooc does unless it is told otherwise.
OOC_FOUND = Contender(
    "ooc, finds its rate",
    OOC,
    ("rate=found",),
    (
        ("optimizer=averaged",),
        ("optimizer=averaged", "start=500"),
        ("optimizer=sgd",),
        ("optimizer=sgd", "cosine=2000"),
        ("optimizer=momentum", "cosine=2000"),
        ("optimizer=adam",),
        ("optimizer=adam", "cosine=2000"),
    ),
)
# On rows in random order a small window mixes as well, and the first one is there sooner.
OOC_SMALL = Contender(
    "ooc, finds its rate, windows of 32 blocks",
    OOC,
    ("rate=found", "window=32"),
    (("optimizer=averaged",), ("optimizer=averaged", "start=500")),
)
OOC_GIVEN = Contender(
    "ooc, best rate, windows of 16 blocks",
    OOC,
    ("window=16",),
    _grid(["optimizer=averaged"], rate=(0.1, 0.2, 0.4, 0.8), start=(0, 100)),
)
OWN = (OOC_FOUND, OOC_SMALL, OOC_GIVEN)

CONTENDERS = {
    "scikit-learn": Contender(
        "scikit-learn partial_fit", ALL_PEERS["scikit-learn"], (), SGD_CLASSIFIER
    ),
    "vowpal-wabbit": Contender(
        "Vowpal Wabbit, cache",
        ALL_PEERS["vowpal-wabbit"],
        (),
        (
            # Its default: adaptive, normalised, invariant.
            *_vowpal("--power_t 0.5", (0.05, 0.1, 0.2, 0.5, 1.0)),
            *_vowpal("--sgd --power_t 0", (2.5e-5, 5e-5, 1e-4)),
            *_vowpal("--sgd --power_t 0.5", (0.02, 0.04, 0.08, 0.16)),
        ),
    ),
    "torch": Contender(
        "PyTorch, whole batches",
        ALL_PEERS["torch-batches"],
        ("batches=whole", "workers=0"),
        (
            *_grid(["optimizer=sgd"], rate=(0.01, 0.02, 0.04)),
            *_grid(["optimizer=adam"], rate=(5e-4, 1e-3, 2e-3)),
            *_grid(["optimizer=asgd"], rate=(0.1, 0.2, 0.4, 0.8), start=(0, 100)),
        ),
    ),
    "dask-ml": Contender(
        "dask-ml Incremental, 64 chunks a block",
        ALL_PEERS["dask-ml-large"],
        ("blocks=large",),
        SGD_CLASSIFIER,
    ),
}
