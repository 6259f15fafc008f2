"""How good is a shuffle? Measured on the data, beside what the closed forms say."""

import time
from math import sqrt

import numpy as np

from ooc.core.errors import InputError
from ooc.core.hashing import keys_of
from ooc.core.random_keys import Purpose, key
from ooc.metrics import Progress, Report, silent
from ooc.shuffle import scan
from ooc.shuffle.mixing import ColumnMixing, Mixing
from ooc.shuffle.streams import (
    ListStream,
    LoaderStream,
    Stream,
    check_list,
    exact_rows,
    full_shuffle_pairs,
)
from ooc.store.chunks import open_reader
from ooc.store.chunks.native import NativeReader
from ooc.store.dataset import Dataset
from ooc.stream.block_statistics import BlockStatistics, Column, block_statistics
from ooc.stream.loader import Loader
from ooc.stream.mixing_theory import inflation

MOST_FOLLOWED = 16
FOLLOWED_ROWS = 20_000
PICTURE_BINS = 256


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
    values = int(np.prod(dataset.row_shape, dtype=np.int64))
    followed = np.unique(np.linspace(0, values - 1, min(values, MOST_FOLLOWED)).astype(np.int64))
    shuffle = order if isinstance(order, str) and order in ("blocks", "none") else "blocks"
    loader = Loader(dataset, batch_size, memory=memory, seed=seed, shuffle=shuffle, window=window)
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
    readers = [open_reader(dataset, name, stream.loader.stream.io) for name in names]
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
