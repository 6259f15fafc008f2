"""What sorted data do to learning, with each way to shuffle: the loss, and how it was predicted.

8 million rows, sorted by label, and sorted by a feature that drifts. Logistic regression passes
over them once: without a shuffle, with windows of blocks of three sizes, in the exact shuffle's
order, and in an order that was shuffled in memory. The held-out loss is drawn against the steps.
Then pairs of rows that share a block and a batch are counted in the batches of a real loader, of
16,000,057 rows, beside their closed form.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ooc.core.sizes import parse_count
from pipelines.common.arguments import Parser, add_data_options, check_memory
from pipelines.common.checks import Check, above, at_most, near
from pipelines.common.command import carry_out
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.sorted_data.data import draw_held_out, open_sorted
from pipelines.sorted_data.figures import draw
from pipelines.sorted_data.model import TARGET_SHARE, WINDOW_SHARES, Outcome, compare, way_of
from pipelines.sorted_data.pairs import count_pairs

TITLES = {"label": "sorted by label", "drift": "sorted by a drifting feature"}
BROKEN = 0.05  # share above the full shuffle's loss that no shuffle costs at least
HEAD = ("", "final loss", "over full", "column", "inflation predicted", "observed", "its error")
MOST_DEVIATIONS = 4.0


@dataclass(frozen=True)
class Size:
    """How large data are, and how near losses are to be.

    Attributes
    ----------
    chunk_bytes, held_out, rate
        Of a dataset's chunks; rows to measure losses on; learning rate.
    pair_rows, pair_block
        Rows of the dataset on which pairs are counted, and of its blocks.
    target
        Share above the full shuffle's loss at which a good shuffle ends.
    """

    chunk_bytes: int
    held_out: int
    rate: float
    pair_rows: int
    pair_block: int
    target: float


FULL = Size(256 * 2**10, 200_000, 0.005, 16_000_057, 400, 0.005)
QUICK = Size(16 * 2**10, 20_000, 0.05, 160_057, 40, 0.02)


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Compare the ways on both datasets, draw, count pairs."""
    size, folder = QUICK if options.quick else FULL, options.folder
    rows, memory = parse_count(options.rows), options.memory
    check_memory(memory)
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for kind, title in TITLES.items():
        path = folder / f"{kind}-{rows}.zarr"
        dataset = open_sorted(path, kind, rows, options.seed, size.chunk_bytes)
        held_out = draw_held_out(kind, size.held_out, options.seed)
        found[title] = list(compare(dataset, held_out, folder, memory, size.rate))
        remove(options, path, folder / f"{path.stem}-exact.zarr")
        yield section_of(title, found[title], size)
    picture = draw(found, size.target)
    picture.save(folder)
    yield Section("Loss on the way", pictures=(picture,))
    if not options.without_pairs:
        path = folder / f"pairs-{size.pair_rows}.zarr"
        yield pairs_section(path, memory, size)
        remove(options, path)


def remove(options: argparse.Namespace, *paths: Path) -> None:
    """Remove data, unless they are to be kept."""
    if not options.keep:
        for path in paths:
            shutil.rmtree(path)


def section_of(title: str, outcomes: Sequence[Outcome], size: Size) -> Section:
    """Return one line for each way, and what is asked of them."""
    full = outcomes[-1].final
    excess = {each.name: each.final / full - 1 for each in outcomes}
    rows = []
    for outcome in outcomes:
        cells = ("", "", "", "")
        if (worst := outcome.mixing) is not None:
            predicted = "" if worst.predicted is None else f"{worst.predicted:.3f}"
            observed = (f"{worst.observed:.3f}", f"{worst.observed_error:.3f}")
            cells = (worst.column.name, predicted, *observed)
        over = f"{100 * excess[outcome.name]:+.2f}%"
        rows.append((outcome.name, f"{outcome.final:.5f}", over, *cells))
    checks = [
        above(f"{title}, no shuffle: loss over a full shuffle's", excess["no shuffle"], BROKEN),
        near(f"{title}, exact shuffle: the same", excess["exact shuffle"], 0.0, size.target),
    ]
    for share in WINDOW_SHARES:
        if share >= TARGET_SHARE:
            name = way_of(share)
            checks.append(at_most(f"{title}, {name}: the same", excess[name], size.target))
    losses = {each.name: each.trajectory.losses.tolist() for each in outcomes}
    table = Table("held-out loss after an epoch", HEAD, tuple(rows))
    return Section(title, "", (table,), (), tuple(checks), {title: losses})


def pairs_section(path: Path, memory: str, size: Size) -> Section:
    """Count pairs and hold them against the closed form."""
    pairs = count_pairs(path, memory, size.pair_rows, size.pair_block)
    lines = (
        ("counted", f"{pairs.counted:,}"),
        ("closed form", f"{pairs.expected:,.0f}"),
        ("its standard deviation", f"{pairs.deviation:,.0f}"),
        ("a full shuffle's", f"{pairs.full_shuffle:,.0f}"),
    )
    name = "count of pairs, in standard deviations from the closed form"
    checks: tuple[Check, ...] = (near(name, pairs.score, 0.0, MOST_DEVIATIONS),)
    return Section(
        "Pairs of rows that share a block and a batch",
        f"Blocks and batches of {size.pair_block}, of {size.pair_rows:,} rows.",
        (Table("pairs", ("", "pairs"), lines),),
        checks=checks,
        results={"pairs": vars(pairs)},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status."""
    parser = Parser("sorted_data", str(__doc__), {"rows": "120k", "memory": "1GiB"})
    parser.add_argument("--rows", default="8M", help="rows of each dataset")
    parser.add_argument("--keep", action="store_true", help="keep the data")
    parser.add_argument("--without-pairs", action="store_true", help="leave the count of pairs out")
    add_data_options(parser, "sorted-data", "4GiB", seed=3)
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
