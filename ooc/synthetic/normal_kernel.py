"""Normal numbers on a grid, compiled: the bits of `ooc.synthetic.normals`, ten times as fast."""

import numpy as np

from ooc.core.compile_child import Compilation
from ooc.core.compiler import kernel_for, lean_kernel, small_kernel
from ooc.core.hashing import GOLDEN, mix
from ooc.synthetic.normals import CURVED, PIECES, UNIT, edges, inverse

_HALF = np.uint64(2**32 - 1)


def fill_compiled(
    seed: int, means: np.ndarray, labels: np.ndarray, grid: int, out: np.ndarray
) -> None:
    """Fill `out` with normal numbers; see `ooc.synthetic.normals.fill_rounded`."""
    _fill(seed, edges(), means, labels, float(grid), out)


def normal_kernels() -> list[Compilation]:
    """Return the compilation that drawing needs."""
    rows, labels = np.zeros((1, 1), np.float32), np.zeros(1, np.int64)
    return [kernel_for(_fill, 1, np.zeros(1, np.float32), rows, labels, 1.0, rows)]


_inverse = lean_kernel(inverse)


@lean_kernel
def _fill(seed, edges, means, labels, grid, out):  # type: ignore[no-untyped-def]
    rows, columns = out.shape
    grid, step = np.float32(grid), np.float32(1.0 / grid)
    for row in range(rows):
        of_row = mix(np.uint64(seed) + np.uint64(row + 1) * GOLDEN)
        label, curved = labels[row], False
        # Two columns share 64 bits; without a branch, all of it is vectorised.
        for pair in range(columns // 2):
            bits, column = mix(of_row + np.uint64(pair + 1) * GOLDEN), 2 * pair
            high, low = bits >> np.uint64(32), bits & _HALF
            curved |= _is_curved(high) | _is_curved(low)
            value = _on_line(high, edges) + means[label, column]
            out[row, column] = np.float32(np.rint(value * grid)) * step
            value = _on_line(low, edges) + means[label, column + 1]
            out[row, column + 1] = np.float32(np.rint(value * grid)) * step
        # Numbers at either end, which are few, and the last of an odd count.
        for column in range(0 if curved else columns // 2 * 2, columns):
            bits = mix(of_row + np.uint64(column // 2 + 1) * GOLDEN)
            half = bits >> np.uint64(32) if column % 2 == 0 else bits & _HALF
            if _is_curved(half):
                value = np.float32(_inverse((np.int64(half) + 0.5) * UNIT**2))
            else:
                value = _on_line(half, edges)
            out[row, column] = np.float32(np.rint((value + means[label, column]) * grid)) * step


@small_kernel
def _on_line(half, edges):  # type: ignore[no-untyped-def]
    """Return the number of 32 bits that lies on the line between the ends of its piece."""
    piece, part = np.int64(half >> np.uint64(16)), np.int64(half & np.uint64(0xFFFF))
    place = (np.float32(part) + np.float32(0.5)) * np.float32(UNIT)
    low = edges[piece]
    return low + (edges[piece + 1] - low) * place


@small_kernel
def _is_curved(half):  # type: ignore[no-untyped-def]
    piece = np.int64(half >> np.uint64(16))
    return (piece < CURVED) | (piece >= PIECES - CURVED)
