"""Gather rows of a window, in any order and dtype, into a float32 tile that stays in cache."""

import numpy as np

from ooc.core.compiler import exact_kernel

TILE_BYTES = 128 * 2**10
MOST_TILE_ROWS = 256


def tile_rows(features: int) -> int:
    """Return the rows of a tile: a multiple of 4 that fills about 128 KiB.

    Examples
    --------
    >>> tile_rows(128), tile_rows(784), tile_rows(10**6)
    (256, 40, 4)
    """
    return max(4, min(MOST_TILE_ROWS, TILE_BYTES // (4 * features)) // 4 * 4)


def as_rows(features: np.ndarray) -> tuple[np.ndarray, bool]:
    """View features as (rows, values) for `gather`, and tell whether they are raw float16 bits.

    Numba has no float16 on processors, so that halves travel as uint16.
    """
    flat = features.reshape(len(features), -1)
    half = flat.dtype == np.float16
    return (flat.view(np.uint16) if half else flat), half


@exact_kernel
def half_to_float(bits):  # type: ignore[no-untyped-def]
    """Convert the bits of an IEEE 754 binary16, a uint32, to float32; NaN and infinity stay."""
    magnitude = bits & np.uint32(0x7FFF)
    if magnitude >= np.uint32(0x7C00):
        out = np.uint32((magnitude << np.uint32(13)) | np.uint32(0x7F800000)).view(np.float32)
    else:
        out = np.uint32(magnitude << np.uint32(13)).view(np.float32) * np.float32(2.0**112)
    return -out if bits & np.uint32(0x8000) else out


@exact_kernel
def gather(
    features: np.ndarray,
    half: bool,
    order: np.ndarray,
    start: int,
    count: int,
    scale: float,
    tile: np.ndarray,
    filled: int,
) -> None:
    """Copy rows ``order[start : start + count]`` to the tile, as float32 times `scale`.

    Parameters
    ----------
    features
        (rows, values) of any real dtype.
    half
        Whether `features` holds the bits of float16.
    order
        (rows,) int32 positions in the window.
    tile
        (tile rows, values) float32; rows from `filled` on are written.
    """
    factor = np.float32(scale)
    for r in range(count):
        row = order[start + r]
        if half:
            for j in range(features.shape[1]):
                tile[filled + r, j] = half_to_float(np.uint32(features[row, j])) * factor
        else:
            for j in range(features.shape[1]):
                tile[filled + r, j] = np.float32(features[row, j]) * factor


@exact_kernel
def standardise(
    tile: np.ndarray, first: int, stop: int, mean: np.ndarray, inverse: np.ndarray
) -> None:
    """Subtract `mean` from rows first to stop - 1 and multiply with `inverse`, if they are given.

    Parameters
    ----------
    tile
        (tile rows, F) float32, changed in place.
    mean, inverse
        (F,) float32; empty where rows are to stay as they are.
    """
    if mean.size == 0:
        return
    for r in range(first, stop):
        for j in range(tile.shape[1]):
            tile[r, j] = (tile[r, j] - mean[j]) * inverse[j]
