"""What the client and the workers tell each other: frozen records, and their form on the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ooc.models.contract import Model
from ooc.models.lane_shares import ShareSums
from ooc.optim import Optimizer
from ooc.store.dataset import Dataset
from ooc.stream.options import StreamOptions
from ooc.stream.plan import Plan


@dataclass(frozen=True)
class LaneWork:
    """All that a worker needs to serve lanes of a run.

    Attributes
    ----------
    names
        Arrays that are read.
    plan, stream
        Of the whole stream, all lanes together.
    optimizers
        Of each descent, on which the kernel may depend.
    parameters
        (M, P), those at the beginning: a kernel may read what is fixed in them.
    epochs
        Passes over the dataset.
    marks
        The fingerprint that the dataset has where the client reads it; empty where that is here.
    local
        Whether lanes take steps of their own, with the optimizers.
    """

    dataset: Dataset
    names: tuple[str, ...]
    plan: Plan
    stream: StreamOptions
    model: Model
    optimizers: tuple[Optimizer | None, ...]
    parameters: np.ndarray
    epochs: int
    marks: Mapping[str, Any] = field(default_factory=dict)
    local: bool = False


def from_anywhere(dataset: Dataset) -> Dataset:
    """Return the same dataset, under paths that hold in whichever folder a worker was started."""
    parts = tuple(from_anywhere(part) for part in dataset.parts)
    path = dataset.path
    if not parts and not dataset.held and dataset.store is None and "://" not in path:
        path = str(Path(path).absolute())
    return replace(dataset, path=path, parts=parts)


class Share(NamedTuple):
    """Rows `start` to `stop` of a lane's part of a window, and those before them in the batch."""

    lane: int
    epoch: int
    window: int
    start: int
    stop: int
    before: int


class Step(NamedTuple):
    """What all shares of a step have in common: the step, its batch, and which models go on.

    `parameters` are the bytes of (M, P).
    """

    number: int
    batch_size: int
    active: Sequence[bool]
    parameters: bytes


class Leg(NamedTuple):
    """Shares that a lane works off in one window, one after the other, taking steps by itself.

    Attributes
    ----------
    lane, epoch, window
        Whose rows they are.
    stands
        The step after which the lane's own parameters and state stand as they are to be.
    shares
        (start, stop, rows of the batch before them), one for each batch of `Legs`.
    carried
        What came of the shares of the first batch that were in windows before.
    own
        Bytes of the lane's parameters (M, P) and state (M, slots, P); None to go on with what
        whoever serves it has.
    """

    lane: int
    epoch: int
    window: int
    stands: int
    shares: Sequence[tuple[int, int, int]]
    carried: Sequence[Any] = ()
    own: tuple[bytes, bytes] | None = None


class Legs(NamedTuple):
    """What the legs of all lanes have in common.

    Attributes
    ----------
    step, batch_size, active
        The first step, and as in `Step`.
    ends
        For each batch, whether it is complete.
    settings
        Bytes of what optimizers read, see `ooc.models.train_state.TrainState`.
    parameters
        Bytes of (M, P), those of all lanes where a round begins; else none.
    """

    step: int
    batch_size: int
    active: Sequence[bool]
    ends: Sequence[bool]
    settings: bytes
    parameters: bytes = b""


class LegEnd(NamedTuple):
    """What came of a leg.

    Attributes
    ----------
    own
        As in `Leg`, after it.
    totals
        Bytes of (steps, M, totals) float64, what each complete batch adds to them.
    carried
        What came of the shares of a batch that is not complete.
    active
        Which models go on.
    refusal
        Where it could not go on: number of the batch, status, row in the share or -1.
    """

    own: tuple[bytes, bytes]
    totals: bytes
    carried: Sequence[Any]
    active: Sequence[bool]
    refusal: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class LanePart:
    """What a lane's part of a window has: usable rows, and what was left out of it."""

    rows: int
    skipped_rows: int = 0
    skipped_chunks: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    wait_seconds: float = 0.0


class BadRow(NamedTuple):
    """A row that cannot be used: what it is called, its features, its target and its weight."""

    row: str
    features: Sequence[float]
    target: float | None
    weight: float | None


def part_to_wire(part: LanePart) -> tuple[Any, ...]:
    """Return it as plain values."""
    missing = {name: int(count) for name, count in part.missing.items()}
    left_out = int(part.skipped_rows), int(part.skipped_chunks), missing
    return part.rows, *left_out, part.wait_seconds


def sums_to_wire(sums: ShareSums) -> tuple[Any, ...]:
    """Return it as plain values and bytes."""
    return (
        sums.rows,
        sums.gradients.tobytes(),
        sums.terms.tobytes(),
        sums.statuses.tolist(),
        sums.bad_rows.tolist(),
    )


def sums_from_wire(told: Sequence[Any], parameters: np.ndarray) -> ShareSums:
    """Return what came of a share of a model with parameters like these, (M, P)."""
    rows, gradients, terms, statuses, bad_rows = told
    models = len(parameters)
    return ShareSums(
        rows,
        np.frombuffer(gradients, parameters.dtype).reshape(models, -1),
        np.frombuffer(terms, np.float64).reshape(models, -1),
        np.asarray(statuses, np.int64),
        np.asarray(bad_rows, np.int64),
    )
