"""What the client and the workers tell each other: frozen records, and their form on the wire."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
        The fingerprint that the dataset has where the client reads it.
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


class Share(NamedTuple):
    """Rows `start` to `stop` of a lane's part of a window, and those before them in the batch."""

    lane: int
    epoch: int
    window: int
    start: int
    stop: int
    before: int


@dataclass(frozen=True)
class LanePart:
    """What a lane's part of a window has: usable rows, and what was left out of it."""

    rows: int
    skipped_rows: int = 0
    skipped_chunks: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    wait_seconds: float = 0.0


def part_to_wire(part: LanePart) -> dict[str, Any]:
    """Return it as plain values."""
    return {**asdict(part), "missing": dict(part.missing)}


def sums_to_wire(sums: ShareSums) -> dict[str, Any]:
    """Return it as plain values and bytes: copies, so that the memory can be used again."""
    return {
        "rows": sums.rows,
        "gradients": sums.gradients.tobytes(),
        "terms": sums.terms.tobytes(),
        "statuses": sums.statuses.tolist(),
        "bad_rows": sums.bad_rows.tolist(),
    }


def sums_from_wire(told: Mapping[str, Any], parameters: np.ndarray) -> ShareSums:
    """Return what came of a share of a model with parameters like these, (M, P)."""
    models = len(parameters)
    return ShareSums(
        told["rows"],
        np.frombuffer(told["gradients"], parameters.dtype).reshape(models, -1),
        np.frombuffer(told["terms"], np.float64).reshape(models, -1),
        np.asarray(told["statuses"], np.int64),
        np.asarray(told["bad_rows"], np.int64),
    )
