"""How good is a shuffle? Measured on the data, beside what the closed forms say."""

import time
from dataclasses import asdict, dataclass, field, replace
from math import sqrt
from typing import Any

import numpy as np

from ooc.blockio import open_reader
from ooc.blockio.native import NativeReader
from ooc.dataset import Dataset
from ooc.errors import InputError
from ooc.hashing import keys_of
from ooc.loader import Loader
from ooc.memory import format_size
from ooc.metrics import Progress, Report, silent
from ooc.rng import Purpose, key
from ooc.shuffle import scan
from ooc.shuffle.blocks import BlockStatistics, Column, block_statistics
from ooc.shuffle.streams import (
    ListStream,
    LoaderStream,
    Stream,
    check_list,
    exact_rows,
    full_shuffle_pairs,
)
from ooc.shuffle.theory import inflation

MOST_FOLLOWED = 16
FOLLOWED_ROWS = 20_000
PICTURE_BINS = 256
# Of a uniformly random permutation, as a share of N.
FULL_DISTANCE = 1 / 3


@dataclass(frozen=True)
class ColumnMixing:
    """How a label or feature is mixed.

    Attributes
    ----------
    column
        Its variance between and within blocks.
    predicted, observed
        Variance of its batch means over that of a full shuffle: from the closed form, None where
        there is none, and as it was in the stream.
    observed_error
        Standard error of the latter.
    """

    column: Column
    predicted: float | None
    observed: float
    observed_error: float


@dataclass(frozen=True)
class Mixing:
    """A report on one order of one dataset.

    Attributes
    ----------
    order
        Its name.
    rows, batch_size, block_rows, blocks, blocks_per_window
        N, B, b, K and n; n is 0 for an order without windows.
    sampled_blocks
        Blocks that the shares of variance are estimated from.
    every_row_once
        Whether the stream holds each row exactly once.
    pairs, pairs_expected, pairs_deviation, pairs_score
        Pairs of rows that share a block and a batch, in an epoch: counted, the closed form's
        mean and standard deviation, and how many of these the count is off; None without a form.
    pairs_per_batch, pairs_per_batch_deviation
        Mean and standard deviation over batches.
    pairs_full_shuffle
        The closed form for a full shuffle.
    columns
        The label, if there is one, and the features that were followed.
    chi_square, chi_square_degrees, chi_square_score
        Mean over batches of the chi-square of label counts; a full shuffle's mean is the degrees
        of freedom, and the score is how many standard errors it is above that.
    displacement, neighbour_distance
        Mean of |row - place| and of |row - next row|, as shares of N; a full shuffle gives 1/3.
    epoch_correlation
        Correlation of a row's places in two epochs; 1 where the order is the same.
    bytes_decoded, bytes_stored, requests
        What an epoch decodes, reads, and asks of the disk for; None where that is not known.
    picture
        (bins, bins) counts by place in the stream and by row.
    seconds
        Time that measuring took.
    """

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

    def to_json(self) -> dict[str, Any]:
        """Return all numbers, JSON-ready, without the picture."""
        numbers = asdict(replace(self, picture=np.empty(0)))
        del numbers["picture"]
        return {**numbers, "pairs_excess": self.pairs_excess}

    def tables(self) -> dict[str, dict[str, str]]:
        """Return the report for people, table by table."""
        windows = f", {self.blocks_per_window} to a window" if self.blocks_per_window else ""
        score = "" if self.pairs_score is None else f", z = {self.pairs_score:+.1f}"
        expected = (
            "no closed form"
            if self.pairs_expected is None
            else f"{self.pairs_expected:,.0f} +- {self.pairs_deviation:,.0f} expected{score}"
        )
        mixing = {
            "order": f"{self.order}: {self.blocks:,} blocks of {self.block_rows:,} rows{windows}",
            "every row once": "yes" if self.every_row_once else "NO",
            "same-block pairs in a batch": f"{self.pairs:,} ({expected})",
            "of a full shuffle": f"{self.pairs_full_shuffle:,.0f}: {self.pairs_excess:.2f} times",
            "pairs in one batch": f"{self.pairs_per_batch:,.1f} +- "
            f"{self.pairs_per_batch_deviation:,.1f}",
            "displacement": f"{self.displacement:.4f} of the rows; full shuffle 0.3333",
            "distance of neighbours": f"{self.neighbour_distance:.4f} of the rows; full shuffle "
            "0.3333",
            "correlation of two epochs": f"{self.epoch_correlation:+.4f}; full shuffle 0",
        }
        if self.chi_square is not None:
            mixing["label chi-square of a batch"] = (
                f"{self.chi_square:.2f}; full shuffle {self.chi_square_degrees} "
                f"(z = {self.chi_square_score:+.1f})"
            )
        mixing["decoded in an epoch"] = format_size(self.bytes_decoded)
        if self.bytes_stored is not None and self.requests is not None:
            mixing["read in an epoch"] = f"{format_size(self.bytes_stored)} in " + (
                f"{self.requests:,} requests"
            )
        variance = {}
        for each in self.columns:
            error = f" +- {each.column.error:.4f}" if each.column.error else ""
            predicted = "none" if each.predicted is None else f"{each.predicted:.3f}"
            variance[each.column.name] = (
                f"Vb/s2 {each.column.between_share:.4f}{error}, "
                f"h_D {each.column.block_factor:.1f}; "
                f"inflation {each.observed:.3f} +- {each.observed_error:.3f}, "
                f"predicted {predicted}"
            )
        source = "all" if self.sampled_blocks == self.blocks else f"{self.sampled_blocks} sampled"
        return {
            f"mixing, batches of {self.batch_size}": mixing,
            f"variance of batch means (shares from {source} blocks)": variance,
        }


def measure(
    dataset: Dataset,
    order: str | np.ndarray = "blocks",
    batch_size: int = 256,
    memory: str | int = "1GiB",
    seed: int = 0,
    window: int | None = None,
    sample_blocks: int | None = 256,
    report: Report = silent,
) -> Mixing:
    """Measure how well an order mixes the rows of a dataset.

    An epoch is read once, as training reads it, and its order is computed for two epochs.

    Parameters
    ----------
    dataset
        What `ooc.open` returned.
    order
        "blocks", "none", "exact", or a list of row numbers. The last two are held in memory, with
        the columns that are followed.
    batch_size, memory, seed, window
        As for `ooc.Loader`.
    sample_blocks
        Blocks from which Vb/s2 is estimated; None reads all, which is exact.
    report
        Called as the epoch goes on.

    Returns
    -------
    Mixing
        Its `to_json` and `tables` are for programs and for people;
        `ooc.shuffle.draw_mixing` draws it.

    Raises
    ------
    InputError
        If there is no such order, or it does not fit the budget.

    Examples
    --------
    >>> import ooc
    >>> found = measure(ooc.open(example_dataset), "exact", batch_size=50, memory="512MiB")
    >>> found.every_row_once, found.columns[0].predicted
    (True, 1.0)
    """
    if dataset.selection is not None:
        raise InputError(f"{dataset.path} is one side of a split; measure the whole dataset")
    begun = time.perf_counter()
    values = int(np.prod(dataset.arrays[dataset.features].shape[1:], dtype=np.int64))
    followed = np.unique(np.linspace(0, values - 1, min(values, MOST_FOLLOWED)).astype(np.int64))
    shuffle = order if isinstance(order, str) and order in ("blocks", "none") else "blocks"
    loader = Loader(dataset, batch_size, memory, seed, shuffle, window=window)
    stream = _stream(order, loader, seed, len(followed), memory)
    statistics = block_statistics(dataset, stream.block_rows, sample_blocks, seed)
    rows, sums, picture, once = _scan_order(stream, dataset.stored_rows, batch_size)
    expected = stream.expected_pairs(batch_size)
    full = full_shuffle_pairs(rows, stream.block_rows, batch_size)
    batches = sums[scan.BATCHES]
    per_batch = sums[scan.PAIRS] / batches
    spread = sums[scan.PAIRS_SQUARED] / batches - per_batch**2
    columns, chi = _scan_values(stream, dataset, statistics, followed, batch_size, report)
    stored, requests = _requests(stream, dataset)
    return Mixing(
        stream.name,
        rows,
        batch_size,
        stream.block_rows,
        statistics.blocks,
        stream.blocks_per_window,
        statistics.sampled,
        once,
        int(sums[scan.PAIRS]),
        expected.mean if expected else None,
        expected.deviation if expected else None,
        expected.score(sums[scan.PAIRS]) if expected else None,
        per_batch,
        sqrt(max(spread, 0.0)),
        full.mean,
        columns,
        *chi,
        sums[scan.DISPLACEMENT] / rows / rows,
        sums[scan.NEIGHBOUR] / max(rows - 1, 1) / rows,
        _epoch_correlation(stream, rows, seed),
        int(rows * loader.plan.row_bytes * loader.plan.amplification),
        stored,
        requests,
        time.perf_counter() - begun,
        picture,
    )


def _stream(
    order: str | np.ndarray, loader: Loader, seed: int, followed: int, memory: str | int
) -> Stream:
    dataset = loader.dataset
    total, block_rows = dataset.stored_rows, loader.plan.order.block_rows
    if not isinstance(order, str):
        listed = check_list(order, total, followed, memory)
        return ListStream("list", listed, dataset, block_rows)
    if order == "exact":
        rows = exact_rows(total, seed, followed, memory)
        return ListStream("exact", rows, dataset, block_rows)
    if order not in ("blocks", "none"):
        raise InputError(
            f"no order is called {order!r}; choose blocks, none or exact, or give a list of rows"
        )
    return LoaderStream(loader)


def _scan_order(
    stream: Stream, total: int, batch_size: int
) -> tuple[int, np.ndarray, np.ndarray, bool]:
    """Go through the rows of an epoch without reading: rows, sums, picture, and whether whole."""
    batch = np.empty(batch_size, np.int64)
    state, sums = np.zeros(scan.STATE, np.int64), np.zeros(scan.SUMS)
    multiset = np.zeros(1, np.uint64)
    bins = min(PICTURE_BINS, total)
    picture = np.zeros((bins, bins), np.int64)
    length = sum(len(part) for part in stream.rows(0))
    for part in stream.rows(0):
        scan.scan_rows(
            part, max(total, length), stream.block_rows, batch, state, sums, multiset, picture
        )
    once = length == total and int(multiset[0]) == int(scan.multiset_of_all(total))
    return length, sums, picture, once


def _epoch_correlation(stream: Stream, rows: int, seed: int) -> float:
    """Correlate the places that some of the rows have in two epochs."""
    number = key(seed, Purpose.BLOCK_SAMPLE, index=1)
    limit = np.uint64(min(2**64 - 1, int(2**64 * min(1.0, FOLLOWED_ROWS / rows))))
    places = []
    for epoch in range(2):
        found, start = [], 0
        for part in stream.rows(epoch):
            inside = np.flatnonzero(keys_of(part, number) < limit)
            found.append(np.stack([part[inside], start + inside]))
            start += len(part)
        joined = np.concatenate(found, axis=1)
        places.append(joined[1, np.argsort(joined[0], kind="stable")].astype(np.float64))
    if len(places[0]) < 2:
        return 1.0
    return float(np.corrcoef(places[0], places[1])[0, 1])


def _scan_values(
    stream: Stream,
    dataset: Dataset,
    statistics: BlockStatistics,
    followed: np.ndarray,
    batch_size: int,
    report: Report,
) -> tuple[tuple[ColumnMixing, ...], tuple[float | None, int | None, float | None]]:
    """Read an epoch and compare the batches' means and labels with those of a full shuffle."""
    label = statistics.label
    columns = [statistics.features[j] for j in followed]
    everything = [*columns, *([label] if label else [])]
    spec = dataset.arrays[dataset.target] if dataset.target else None
    by_class = spec is not None and spec.dtype.kind in "iub" and label is not None
    reference = np.array([column.mean for column in everything])
    edges = np.array(statistics.classes)
    groups = len(edges) + 1 if label else 0
    counts, batch = np.zeros(2, np.int64), np.zeros(len(everything))
    moments = np.zeros((4, len(everything)))
    class_batch, class_sums = np.zeros(groups, np.int64), np.zeros((2, groups))
    at_ends, begun, done = [(0, np.zeros(len(everything)), np.zeros((2, groups)))], 0.0, 0
    begun = time.perf_counter()
    listed = isinstance(stream, ListStream)
    which = np.arange(len(followed)) if listed else followed
    row_bytes = sum(each.row_bytes for each in dataset.arrays.values())
    for part in stream.parts(followed):
        values = part.features
        scan.scan_values(
            values.astype(np.float32) if values.dtype == np.float16 else values,
            which,
            part.labels,
            edges,
            part.order,
            batch_size,
            reference,
            counts,
            batch,
            moments,
            class_batch,
            class_sums,
        )
        at_ends.append((int(counts[1]), moments[3].copy(), class_sums.copy()))
        done += len(part.order)
        spent = time.perf_counter() - begun
        report(Progress(done, dataset.stored_rows, done * row_bytes, spent))
    rows, batches = done, int(counts[1])
    finite = (rows - batch_size) / (rows - 1) / batch_size if rows > 1 else 0.0
    variance = moments[1] / rows - (moments[0] / rows) ** 2
    observed = moments[3] / batches - (moments[2] / batches) ** 2
    errors = _errors([(end[0], end[1]) for end in at_ends])
    scale = np.where(variance * finite > 0, variance * finite, 1.0)
    ratio, error = observed / scale, errors / scale
    chi: tuple[float | None, int | None, float | None] = (None, None, None)
    if label is not None and groups > 1 and batches > 0:
        share = class_sums[0] / class_sums[0].sum()
        wanted = share > 0
        spread = class_sums[1] / batches - (class_sums[0] / batches) ** 2
        mean = float((spread[wanted] / (batch_size * share[wanted])).sum())
        degrees = int(wanted.sum()) - 1
        chi = (mean, degrees, (mean - degrees) / sqrt(max(2 * degrees, 1) / batches))
        if by_class:
            whole = float((share * (1 - share)).sum()) * finite * batch_size**2
            if whole > 0:
                ratio[-1] = float(spread.sum()) / whole
                middle = class_sums[0] / batches
                centred = [
                    (end[0], np.array([(end[2][1] - 2 * middle * end[2][0]).sum()]))
                    for end in at_ends
                ]
                error[-1] = float(_errors(centred)[0]) / whole
    found = [
        ColumnMixing(
            column,
            _predicted(stream, column, rows, batch_size),
            float(ratio[j]),
            float(error[j]),
        )
        for j, column in enumerate(everything)
    ]
    return tuple(found[-1:] + found[:-1] if label else found), chi


def _errors(at_ends: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """Return the standard error of a mean over batches, by the spread over parts of the stream.

    Batches of one window are alike, so that parts are what is independent.
    """
    counts = np.array([end[0] for end in at_ends])
    sums = np.array([end[1] for end in at_ends])
    batches, added = np.diff(counts), np.diff(sums, axis=0)
    used = batches > 0
    if used.sum() < 2:
        return np.zeros(sums.shape[1])
    mean = added[used].sum(axis=0) / batches[used].sum()
    rest = added[used] - batches[used][:, None] * mean
    parts = int(used.sum())
    found: np.ndarray = np.sqrt((rest**2).sum(axis=0) * parts / (parts - 1)) / batches[used].sum()
    return found


def _predicted(stream: Stream, column: Column, rows: int, batch_size: int) -> float | None:
    if stream.name == "exact":
        return 1.0
    if stream.name != "blocks":
        return None
    return inflation(
        column.between_share, rows, stream.block_rows, stream.blocks_per_window, batch_size
    )


def _requests(stream: Stream, dataset: Dataset) -> tuple[int | None, int | None]:
    """Count an epoch's stored bytes and requests, if the native path serves all arrays."""
    if not isinstance(stream, LoaderStream):
        return None, None
    order, names = stream.loader.plan.order, stream.loader.names
    readers = [open_reader(dataset, name, stream.loader.io) for name in names]
    stored = requests = 0
    for reader, name in zip(readers, names, strict=True):
        if not isinstance(reader, NativeReader):
            return None, None
        spec = dataset.arrays[name]
        # Only the shape of this memory is used: no page of it is ever touched.
        out = np.empty((order.window_rows, *spec.shape[1:]), spec.dtype)
        for window in range(order.windows):
            blocks = order.window_blocks(0, window).tolist()
            spans = [
                (k * order.block_rows, min((k + 1) * order.block_rows, order.rows)) for k in blocks
            ]
            for request in reader.requests(spans, out):
                stored += request.stop - request.start
                requests += 1
    return stored, requests
