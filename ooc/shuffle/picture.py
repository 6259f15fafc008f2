"""The picture of a shuffle: where rows came from against where they are, beside a full shuffle."""

from pathlib import Path

import numpy as np

from ooc.core.figures import make_figure
from ooc.core.random_keys import Purpose, key
from ooc.shuffle.mixing import Mixing
from ooc.stream.order import permute

PICTURE_ROWS = 2**22


def draw_mixing(mixing: Mixing, path: str | Path) -> None:
    """Draw a measured order beside a full shuffle of as many rows, as a PNG.

    Each cell counts the rows of one part of the dataset in one part of the stream. A full shuffle
    is even but for chance; stripes and blocks are what batches inherit.
    """
    bins = len(mixing.picture)
    even = mixing.picture.sum() / bins**2
    figure = make_figure(10.5, 5.2)
    axes = figure.subplots(1, 2, sharey=True)
    shown = (
        (mixing.picture / even, f"{mixing.order}: {_in_words(mixing)}"),
        (_full_shuffle(mixing.rows, bins) / even, "a full shuffle"),
    )
    for axis, (density, title) in zip(axes, shown, strict=True):
        image = axis.imshow(
            density.T,
            origin="lower",
            extent=(0, 100, 0, 100),
            vmin=0,
            vmax=max(4.0, 1 + 4 / np.sqrt(even)),
            cmap="magma",
            interpolation="nearest",
        )
        axis.set_title(title, fontsize="medium")
        axis.set_xlabel("position in the stream, percent")
    axes[0].set_ylabel("original row, percent of the dataset")
    bar = figure.colorbar(image, ax=list(axes), shrink=0.85, extend="max")
    bar.set_label("rows in a cell, as a multiple of an even spread")
    figure.savefig(path, dpi=110)


def _in_words(mixing: Mixing) -> str:
    if mixing.blocks_per_window and mixing.order == "blocks":
        return f"{mixing.blocks_per_window} of {mixing.blocks:,} blocks in a window"
    return f"{mixing.pairs_excess:.3g} times the same-block pairs"


def _full_shuffle(rows: int, bins: int) -> np.ndarray:
    """Count a uniformly random permutation by cells; of very many rows, a part, scaled up."""
    count = min(rows, PICTURE_ROWS)
    order = np.empty(count, np.int32)
    permute(order, key(0, Purpose.EXACT_ORDER, 1))
    cells = np.arange(count) * bins // count * bins + order.astype(np.int64) * bins // count
    counts = np.bincount(cells, minlength=bins * bins).reshape(bins, bins).astype(np.float64)
    if rows == count:
        return counts
    # Chance is smaller where more rows fall into a cell.
    expected = count / bins**2
    return rows / bins**2 + (counts - expected) * np.sqrt(rows / count)
