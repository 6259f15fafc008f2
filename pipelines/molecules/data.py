"""An archive of local minima, written chunk by chunk.

Row i is the minimum below the random start number i: threads share the rows, and no bit depends
on how many threads there are.
"""

from pathlib import Path

import numpy as np

from ooc.core.compiler import kernel
from ooc.core.hashing import GOLDEN, mix
from ooc.core.progress import Report, silent
from ooc.core.random_keys import Purpose, prefix
from pipelines.common.dataset import Columns, Fields, write
from pipelines.molecules.energy import LOOSE, centre, draw_start
from pipelines.molecules.minimisers import minimise_lbfgs

TOLERANCE = 1e-8
MOST_EVALUATIONS = 10_000
# Small shards share out evenly among threads.
SHARD_BYTES = 16 * 2**20


@kernel
def quench_rows(
    prefix: int,
    first: int,
    x: np.ndarray,
    energy: np.ndarray,
    gradient_norm: np.ndarray,
    evaluations: np.ndarray,
) -> None:
    """Fill arrays with the minima below random starts number first, first + 1, ...

    Parameters
    ----------
    prefix
        uint64 as `ooc.core.random_keys.prefix` makes it.
    x
        (rows, atoms, 3) float32; the others (rows,).
    """
    state, positions = np.empty(1, np.uint64), np.empty((3, x.shape[1]))
    for row in range(energy.size):
        state[0] = mix((prefix ^ np.uint64(first + row)) + GOLDEN) >> np.uint64(1)
        draw_start(state, LOOSE, positions)
        found = minimise_lbfgs(positions, TOLERANCE, MOST_EVALUATIONS)
        energy[row], gradient_norm[row], evaluations[row] = found
        centre(positions)
        for atom in range(x.shape[1]):
            for axis in range(3):
                x[row, atom, axis] = positions[axis, atom]


def write_archive(
    path: Path,
    atoms: int,
    rows: int,
    seed: int,
    threads: int | None = None,
    report: Report = silent,
    chunk_bytes: int = 512 * 2**10,
) -> None:
    """Minimise from random starts, and write what is found; a thread holds one chunk.

    Arrays: "X" (rows, atoms, 3) float32, in sigma; "energy" and "gradient_norm" (rows,) float64,
    in epsilon and epsilon/sigma; "evaluations" (rows,) int32; "start" (rows,) int64, the number
    of the start, whose generator is `key(seed, Purpose.DATA, index=start)`.
    """
    begin = np.uint64(prefix(seed, Purpose.DATA))

    def draw(number: int, first: int, count: int) -> Columns:
        columns: dict[str, np.ndarray] = {
            "X": np.empty((count, atoms, 3), np.float32),
            "energy": np.empty(count),
            "gradient_norm": np.empty(count),
            "evaluations": np.empty(count, np.int32),
        }
        quench_rows(begin, first, *columns.values())  # type: ignore[arg-type]
        return columns | {"start": np.arange(first, first + count)}

    fields: Fields = {
        "X": ("float32", (atoms, 3)),
        "energy": ("float64", ()),
        "gradient_norm": ("float64", ()),
        "evaluations": ("int32", ()),
        "start": ("int64", ()),
    }
    notes = {"atoms": atoms, "seed": seed, "rows": rows}
    write(path, fields, notes, rows, draw, threads, report, chunk_bytes, SHARD_BYTES)
