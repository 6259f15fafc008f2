"""A model whose gradient is what it was handed: a share's rows land in a table of parameters."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ooc.kernels.counters import OK
from ooc.kernels.share import Numbers, Output, Share
from ooc.models.contract import Layout
from ooc.models.declarations import Kernel, Needs, Phase

# Two features, target, weight, four further values, three integers, first, step, seed, turn, and 1.
WIDTH = 16
INTEGER_BASES = (2**60, 0, 2**40)


def record(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill the gradient so that a sum of shares, times -1, holds a line for each row."""
    output.gradient[:] = 0.0
    output.terms[0] = 0.0
    half = output.gradient.size // 2
    # The first feature is the row's number; each phase has a table of its own.
    for r in range(share.features.shape[0]):
        start = share.turn * half + int(share.features[r, 0]) * 16
        line = output.gradient[start : start + 16]
        line[0], line[1] = share.features[r, 0], share.features[r, 1]
        line[2], line[3] = share.targets[r, 0], share.weights[r]
        for j in range(4):
            line[4 + j] = share.further[r, j]
        for j in range(3):
            line[8 + j] = share.integers[r, j] - numbers.integers[j]
        line[11], line[12] = share.first, share.step
        line[13], line[14], line[15] = share.seed % 2**20, share.turn, 1.0
    return OK


@dataclass(frozen=True)
class Recorder:
    rows: int

    name: ClassVar[str] = "recorder"
    needs_target: ClassVar[bool] = True
    dtype: ClassVar[Any] = np.float64
    needs: ClassVar[Needs] = Needs(further=("a", "b"), integers=("ids", "more"))
    phases: ClassVar[tuple[Phase, ...]] = (Phase("most", 2), Phase("rest", 1))

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        shape = (self.rows, WIDTH)
        return Layout({"most": shape, "rest": shape}, groups={"most": "most", "rest": "rest"})

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        return Kernel(record, np.empty(0), np.array(INTEGER_BASES, np.int64))


def records_of(parameters: np.ndarray) -> dict[int, dict[str, Any]]:
    """Return what each row was handed as; mean gradients were taken off, so counts divide."""
    found: dict[int, dict[str, Any]] = {}
    for line in parameters.reshape(-1, WIDTH):
        if line[15] == 0:
            continue
        values = np.rint(line / line[15] * 1e6) / 1e6
        found[int(values[0])] = {
            "features": values[:2].tolist(),
            "target": values[2],
            "weight": values[3],
            "further": values[4:8].tolist(),
            "integers": values[8:11].tolist(),
            "first": values[11],
            "step": values[12],
            "seed": values[13],
            "turn": values[14],
        }
    return found
