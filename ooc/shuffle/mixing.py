"""What measuring a shuffle found: numbers for programs, tables and a picture for people."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from ooc.core.figures import make_figure, save_figure
from ooc.core.random_keys import Purpose, key
from ooc.core.sizes import format_size
from ooc.core.terminal import one_line
from ooc.stream.block_statistics import Column
from ooc.stream.order import permute

# Variance of batch means over that of a full shuffle, up to which an order is called so.
LEVELS = (("as good as a full shuffle", 1.1), ("well mixed", 1.5), ("mixed in part", 4.0))
BADLY = "badly mixed"
# Of a full shuffle, so many rows are drawn at most.
PICTURE_ROWS = 2**22


@dataclass(frozen=True)
class ColumnMixing:
    """How a label or feature is mixed.

    Attributes
    ----------
    predicted, observed, observed_error
        Variance of its batch means over that of a full shuffle: from the closed form, None where
        there is none, and as it was in the stream, with its standard error.
    """

    column: Column
    predicted: float | None
    observed: float
    observed_error: float

    def in_words(self) -> str:
        """Return the numbers on a line."""
        column = self.column
        error = f" +- {column.error:.4f}" if column.error else ""
        predicted = "none" if self.predicted is None else f"{self.predicted:.3f}"
        return (
            f"Vb/s2 {column.between_share:.4f}{error}, h_D {column.block_factor:.1f}; inflation "
            f"{self.observed:.3f} +- {self.observed_error:.3f}, predicted {predicted}"
        )


@dataclass(frozen=True)
class Mixing:
    """A report on one order of one dataset.

    Attributes
    ----------
    dataset
        Its name.
    rows, batch_size, block_rows, blocks, blocks_per_window
        N, B, b, K and n; n is 0 for an order without windows.
    sampled_blocks
        Blocks that the shares of variance are estimated from.
    pairs, pairs_expected, pairs_deviation, pairs_score
        Pairs of rows that share a block and a batch, in an epoch: counted, the closed form's
        mean and standard deviation, and how many of these the count is off; None without a form.
    pairs_per_batch, pairs_per_batch_deviation
        Mean and standard deviation over batches.
    columns
        The label, if there is one, and the features that were followed.
    chi_square, chi_square_degrees, chi_square_score
        Mean over batches of the chi-square of label counts; a full shuffle's mean is the degrees
        of freedom, and the score is how many standard errors it is above that.
    displacement, neighbour_distance
        Mean of ``|row - place|`` and of ``|row - next row|``, as shares of N; a full shuffle gives
        1/3.
    epoch_correlation
        Correlation of a row's places in two epochs; 1 where the order is the same.
    bytes_decoded, bytes_stored, requests
        What an epoch decodes, reads, and asks of the disk for; None where that is not known.
    picture
        (bins, bins) counts by place in the stream and by row.
    """

    dataset: str
    order: str
    rows: int
    batch_size: int
    block_rows: int
    blocks: int
    blocks_per_window: int
    sampled_blocks: int
    every_row_once: bool
    pairs: int
    pairs_expected: float | None
    pairs_deviation: float | None
    pairs_score: float | None
    pairs_per_batch: float
    pairs_per_batch_deviation: float
    pairs_full_shuffle: float
    columns: tuple[ColumnMixing, ...]
    chi_square: float | None
    chi_square_degrees: int | None
    chi_square_score: float | None
    displacement: float
    neighbour_distance: float
    epoch_correlation: float
    bytes_decoded: int
    bytes_stored: int | None
    requests: int | None
    seconds: float
    picture: np.ndarray = field(repr=False, compare=False)

    @property
    def pairs_excess(self) -> float:
        """Same-block pairs over those of a full shuffle."""
        return self.pairs / self.pairs_full_shuffle if self.pairs_full_shuffle else 1.0

    @property
    def verdict(self) -> str:
        """What it comes to, in words: by the column whose batch means are the worst."""
        if not self.every_row_once:
            return "no epoch: rows are left out or come twice"
        if not self.columns:
            return f"{self.pairs_excess:.3g} times the same-block pairs of a full shuffle"
        worst = max(self.columns, key=lambda each: each.observed)
        # The variance of so many means of a full shuffle would be off by this much.
        chance = 3 * math.sqrt(2 / max(1, self.rows // self.batch_size))
        level = next((words for words, most in LEVELS if worst.observed <= most + chance), BADLY)
        name, times = one_line(worst.column.name), f"{worst.observed:.3g}"
        verdict = f"{level}: batch means of {name} vary {times} times as much as in a full shuffle"
        if self.order == "none":
            verdict += ", and all epochs have the same order"
        if level in (LEVELS[0][0], LEVELS[1][0]):
            return verdict
        if self.order == "blocks" and self.blocks_per_window < self.blocks:
            return f"{verdict}; take a larger --window or more --memory, or `ooc shuffle` the data"
        return f"{verdict}; take order blocks, or `ooc shuffle` the data"

    def to_json(self) -> dict[str, Any]:
        """Return all numbers, JSON-ready, and the verdict, without the picture."""
        numbers = asdict(self) | {"pairs_excess": self.pairs_excess, "verdict": self.verdict}
        del numbers["picture"]
        return numbers

    def tables(self) -> dict[str, dict[str, str]]:
        """Return the report for people, table by table."""
        windows = f", {self.blocks_per_window} to a window" if self.blocks_per_window else ""
        expected = "no closed form"
        if self.pairs_expected is not None:
            expected = f"{self.pairs_expected:,.0f} +- {self.pairs_deviation:,.0f} expected"
        if self.pairs_score is not None:
            expected += f", z = {self.pairs_score:+.1f}"
        deviation = self.pairs_per_batch_deviation
        third = "of the rows; full shuffle 0.3333"
        mixing = {
            "verdict": self.verdict,
            "order": f"{self.order}: {self.blocks:,} blocks of {self.block_rows:,} rows{windows}",
            "every row once": "yes" if self.every_row_once else "NO",
            "same-block pairs in a batch": f"{self.pairs:,} ({expected})",
            "of a full shuffle": f"{self.pairs_full_shuffle:,.0f}: {self.pairs_excess:.2f} times",
            "pairs in one batch": f"{self.pairs_per_batch:,.1f} +- {deviation:,.1f}",
            "displacement": f"{self.displacement:.4f} {third}",
            "distance of neighbours": f"{self.neighbour_distance:.4f} {third}",
            "correlation of two epochs": f"{self.epoch_correlation:+.4f}; full shuffle 0",
        }
        if self.chi_square is not None:
            mixing["label chi-square of a batch"] = (
                f"{self.chi_square:.2f}; full shuffle {self.chi_square_degrees} "
                f"(z = {self.chi_square_score:+.1f})"
            )
        mixing["decoded in an epoch"] = format_size(self.bytes_decoded)
        if self.bytes_stored is not None:
            stored = format_size(self.bytes_stored)
            mixing["read in an epoch"] = f"{stored} in {self.requests:,} requests"
        source = "all" if self.sampled_blocks == self.blocks else f"{self.sampled_blocks} sampled"
        return {
            f"mixing of {one_line(self.dataset)}, batches of {self.batch_size}": mixing,
            f"variance of batch means (shares from {source} blocks)": {
                each.column.name: each.in_words() for each in self.columns
            },
        }


def draw_mixing(mixing: Mixing, path: str | Path) -> None:
    """Draw a measured order beside a full shuffle of as many rows, as a PNG.

    Each cell counts the rows of one part of the dataset in one part of the stream. A full shuffle
    is even but for chance; stripes and blocks are what batches inherit. The title names the
    dataset, and says in words how well it is mixed.
    """
    bins = len(mixing.picture)
    even = mixing.picture.sum() / bins**2
    figure = make_figure(10.5, 5.6)
    title = f"{one_line(mixing.dataset)}, batches of {mixing.batch_size}: {mixing.verdict}"
    # A name may hold dollar signs, which are no formula.
    figure.suptitle("\n".join(wrap(title, 100)), fontsize="large", parse_math=False)
    axes = figure.subplots(1, 2, sharey=True)
    shown = (
        (mixing.picture / even, f"{mixing.order}: {_in_words(mixing)}"),
        (_full_shuffle(mixing.rows, bins) / even, "a full shuffle"),
    )
    for axis, (density, title) in zip(axes, shown, strict=True):
        most = max(4.0, 1 + 4 / np.sqrt(even))
        image = axis.imshow(
            density.T, cmap="magma", vmin=0, vmax=most,
            origin="lower", extent=(0, 100, 0, 100), interpolation="nearest",
        )  # fmt: skip
        axis.set_title(title, fontsize="medium")
        axis.set_xlabel("position in the stream, percent")
    axes[0].set_ylabel("original row, percent of the dataset")
    bar = figure.colorbar(image, ax=list(axes), shrink=0.85, extend="max")
    bar.set_label("rows in a cell, as a multiple of an even spread")
    save_figure(figure, path, dpi=110)


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
