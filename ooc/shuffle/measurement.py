"""How good is a shuffle? Measured on the data, beside what the closed forms say."""

import time
from math import sqrt
from pathlib import PurePath
from typing import Any

import numpy as np

from ooc.core.errors import DataError, InputError
from ooc.core.hashing import keys_of, keys_of_rows
from ooc.core.progress import Progress, Report, silent
from ooc.core.random_keys import Purpose, key
from ooc.core.sizes import format_size
from ooc.shuffle.external_sort import exact_order
from ooc.shuffle.mixing import ColumnMixing, Mixing
from ooc.shuffle.scan import BatchSums, same_pairs
from ooc.shuffle.streams import ListStream, LoaderStream, Stream, full_shuffle_pairs
from ooc.store.chunks import open_reader
from ooc.store.chunks.native import NativeReader
from ooc.store.dataset import Dataset, check_one_store
from ooc.stream.block_statistics import BlockStatistics, Column, block_statistics
from ooc.stream.loader import Loader
from ooc.stream.mixing_theory import inflation
from ooc.stream.options import StreamOptions
from ooc.stream.plan import budget_of

MOST_FOLLOWED = 16
FOLLOWED_ROWS = 20_000
PICTURE_BINS = 256
# Rows whose values are looked at together.
PIECE_ROWS = 2**12

ChiSquare = dict[str, Any]
NO_CHI_SQUARE: ChiSquare = dict.fromkeys(("chi_square", "chi_square_degrees", "chi_square_score"))


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
    order
        "blocks", "none", "exact", or a list of row numbers. The last two are held in memory, with
        the columns that are followed.
    batch_size, memory, seed, window
        As for `ooc.Loader`.
    sample_blocks
        Blocks from which Vb/s2 is estimated; None reads all, which is exact.

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
    check_one_store(dataset, "measured")
    if dataset.selection is not None:
        raise InputError(f"{dataset.path} is one side of a split; measure the whole dataset")
    if dataset.arrays[dataset.features].is_sparse:
        raise InputError(
            f"{dataset.features} of {dataset.path} is a sparse matrix, and how its rows mix cannot "
            "be measured; measure a dense array beside it with features="
        )
    begun = time.perf_counter()
    values = int(np.prod(dataset.row_shape, dtype=np.int64))
    followed = np.unique(np.linspace(0, values - 1, min(values, MOST_FOLLOWED)).astype(np.int64))
    shuffle = order if isinstance(order, str) and order in ("blocks", "none") else "blocks"
    options = StreamOptions(
        memory=memory, seed=seed, shuffle=shuffle, window=window, missing_values="keep"
    )
    loader = Loader(dataset, batch_size, stream=options)
    stream = _stream(order, loader, seed, len(followed), memory)
    statistics = block_statistics(dataset, stream.block_rows, sample_blocks, seed, columns=followed)
    scanned = _scan_order(stream, dataset.stored_rows, batch_size)
    rows, expected = scanned["rows"], stream.expected_pairs(batch_size)
    columns, chi = _scan_values(stream, dataset, statistics, followed, batch_size, report)
    stored, requests = _requests(stream, dataset)
    return Mixing(
        dataset=PurePath(dataset.path).name or dataset.path,
        order=stream.name,
        batch_size=batch_size,
        block_rows=stream.block_rows,
        blocks=statistics.blocks,
        blocks_per_window=stream.blocks_per_window,
        sampled_blocks=statistics.sampled,
        **scanned,
        pairs_expected=expected.mean if expected else None,
        pairs_deviation=expected.deviation if expected else None,
        pairs_score=expected.score(scanned["pairs"]) if expected else None,
        pairs_full_shuffle=full_shuffle_pairs(rows, stream.block_rows, batch_size).mean,
        columns=tuple(columns),
        **chi,
        epoch_correlation=_epoch_correlation(stream, rows, seed),
        bytes_decoded=int(rows * loader.plan.row_bytes * loader.plan.amplification),
        bytes_stored=stored,
        requests=requests,
        seconds=time.perf_counter() - begun,
    )


def _stream(
    order: str | np.ndarray, loader: Loader, seed: int, followed: int, memory: str | int
) -> Stream:
    if isinstance(order, str) and order in ("blocks", "none"):
        return LoaderStream(loader)
    if isinstance(order, str) and order != "exact":
        raise InputError(
            f"no order is called {order!r}; choose blocks, none or exact, or give a list of rows"
        )
    dataset, total = loader.dataset, loader.dataset.stored_rows
    listed = None if isinstance(order, str) else _checked_list(order, total)
    needed, budget = total * (24 + 8 + 4 * followed), budget_of(memory)
    if needed > budget:
        raise InputError(
            f"an order that is a list is measured in memory, which takes {format_size(needed)} "
            f"for {total} rows; the budget is {format_size(budget)}: raise it"
        )
    name, rows = ("exact", exact_order(total, seed)) if listed is None else ("list", listed)
    return ListStream(name, rows, dataset, loader.plan.order.block_rows)


def _checked_list(rows: Any, total: int) -> np.ndarray:
    """Return a user's list of rows as int64."""
    listed = np.asarray(rows)
    if listed.ndim != 1 or listed.dtype.kind not in "iu" or len(listed) == 0:
        raise InputError(
            f"an order is a list of row numbers, not {listed.dtype} of shape {listed.shape}"
        )
    if listed.min() < 0 or listed.max() >= total:
        raise InputError(
            f"the order names rows {listed.min()} to {listed.max()}, but the dataset has rows 0 "
            f"to {total - 1}"
        )
    return listed.astype(np.int64)


def _scan_order(stream: Stream, total: int, batch_size: int) -> dict[str, Any]:
    """Go through the rows of an epoch without reading: what `Mixing` says of them."""
    rows, bins = sum(len(part) for part in stream.rows(0)), min(PICTURE_BINS, total)
    longest, picture = max(total, rows), np.zeros(bins * bins, np.int64)
    place = displacement = neighbour = multiset = 0
    last, blocks, pairs = np.empty(0, np.int64), np.empty(0, np.int64), np.zeros(3, np.int64)
    parts = (
        part[first : first + PIECE_ROWS]
        for part in stream.rows(0)
        for first in range(0, len(part), PIECE_ROWS)
    )
    for part in parts:
        places = np.arange(place, place + len(part))
        place += len(part)
        displacement += int(np.abs(part - places).sum())
        neighbour += int(np.abs(np.diff(part, prepend=last)).sum())
        multiset += int(keys_of(part, 0).sum())
        cells = places * bins // longest * bins + part * bins // longest
        picture += np.bincount(cells, minlength=len(picture))
        last, blocks = part[-1:], np.concatenate([blocks, part // stream.block_rows])
        whole = len(blocks) if place == rows else len(blocks) // batch_size * batch_size
        for first in range(0, whole, batch_size):
            count = same_pairs(blocks[first : min(first + batch_size, whole)])
            pairs += (1, count, count * count)
        blocks = blocks[whole:]
    expected = sum(int(keys.sum()) for keys, _ in keys_of_rows(total, 0)())
    batches, met, squared = pairs.tolist()
    spread = squared / batches - (met / batches) ** 2
    return {
        "rows": rows,
        "every_row_once": rows == total and (multiset - expected) % 2**64 == 0,
        "pairs": met,
        "pairs_per_batch": met / batches,
        "pairs_per_batch_deviation": sqrt(max(spread, 0.0)),
        "displacement": displacement / rows / rows,
        "neighbour_distance": neighbour / max(rows - 1, 1) / rows,
        "picture": picture.reshape(bins, bins),
    }


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


def _check_finite(dataset: Dataset, name: str, values: np.ndarray) -> None:
    """Refuse values that are missing or infinite: no rule for them goes with measuring."""
    if not np.isfinite(values).all():
        raise DataError(
            f"array {name} of {dataset.path} has values that are missing or not finite; to measure "
            "how rows are mixed takes numbers in every row: name other --features or --target, or "
            "--no-target"
        )


def _scan_values(
    stream: Stream,
    dataset: Dataset,
    statistics: BlockStatistics,
    followed: np.ndarray,
    batch_size: int,
    report: Report,
) -> tuple[list[ColumnMixing], ChiSquare]:
    """Read an epoch and compare the batches' means and labels with those of a full shuffle."""
    label, edges = statistics.label, np.array(statistics.classes)
    columns = list(statistics.features)
    which = np.arange(len(followed)) if isinstance(stream, ListStream) else followed
    classes = np.arange(len(edges) + 1)
    if label:
        columns.append(label)
    # Subtracted, so that sums of squares keep their digits; the classes' indicators need it not.
    reference = np.array([column.mean for column in columns] + [0.0] * (bool(label) * classes.size))
    sums, begun = BatchSums(batch_size, len(reference)), time.perf_counter()
    ends = [(0, sums.moments.copy())]
    row_bytes = sum(each.row_bytes for each in dataset.arrays.values())
    for part in stream.parts(followed):
        for start in range(0, len(part.order), PIECE_ROWS):
            places = part.order[start : start + PIECE_ROWS, None]
            values = [part.features[places, which]]
            _check_finite(dataset, dataset.features, values[0])
            if label:
                labels = part.labels[places]
                _check_finite(dataset, str(dataset.target), labels)
                values += [labels, np.searchsorted(edges, labels) == classes]
            sums.add(np.concatenate(values, axis=1, dtype=np.float64) - reference)
        ends.append((sums.batches, sums.moments.copy()))
        spent = time.perf_counter() - begun
        report(Progress(sums.rows, dataset.stored_rows, sums.rows * row_bytes, spent))
    rows, batches, count = sums.rows, sums.batches, len(columns)
    finite = (rows - batch_size) / (rows - 1) / batch_size if rows > 1 else 0.0
    full = (sums.moments[1] / rows - (sums.moments[0] / rows) ** 2) * finite
    middle = sums.moments[2] / batches
    observed = sums.moments[3] / batches - middle**2
    errors = _errors([(done, moments[3]) for done, moments in ends])
    chi = NO_CHI_SQUARE
    if label and batches > 0:
        share, spread = middle[count:] / middle[count:].sum(), observed[count:]
        chi = _chi_square(share, spread * batch_size, batches)
        if dataset.arrays[dataset.target or ""].dtype.kind in "iub":
            # Of classes, the variance is the sum over their indicators.
            shares = middle[count:]
            terms = [(done, m[3:, count:] - 2 * shares * m[2:3, count:]) for done, m in ends]
            (errors[count - 1],) = _errors([(done, term.sum(axis=1)) for done, term in terms])
            observed[count - 1] = spread.sum()
            full[count - 1] = (share * (1 - share)).sum() * finite
    full = np.where(full > 0, full, 1.0)
    ratios, errors = (observed / full).tolist(), (errors / full).tolist()
    found = [
        ColumnMixing(column, _predicted(stream, column, rows, batch_size), ratios[j], errors[j])
        for j, column in enumerate(columns)
    ]
    return found[-1:] + found[:-1] if label else found, chi


def _chi_square(share: np.ndarray, spread: np.ndarray, batches: int) -> ChiSquare:
    """Return a batch's mean chi-square, its degrees, and the score, from B times the variances."""
    if len(share) < 2:
        return NO_CHI_SQUARE
    mean, degrees = float((spread[share > 0] / share[share > 0]).sum()), int((share > 0).sum()) - 1
    score = (mean - degrees) / sqrt(max(2 * degrees, 1) / batches)
    return dict(zip(NO_CHI_SQUARE, (mean, degrees, score), strict=True))


def _errors(at_ends: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """Return a mean's standard error, by the spread over the parts, which are independent."""
    counts, sums = (np.array(each) for each in zip(*at_ends, strict=True))
    batches, added = np.diff(counts), np.diff(sums, axis=0)
    batches, added = batches[batches > 0], added[batches > 0]
    parts = len(batches)
    if parts < 2:
        return np.zeros(sums.shape[1])
    rest = added - batches[:, None] * added.sum(axis=0) / batches.sum()
    found: np.ndarray = np.sqrt((rest**2).sum(axis=0) * parts / (parts - 1)) / batches.sum()
    return found


def _predicted(stream: Stream, column: Column, rows: int, batch_size: int) -> float | None:
    if stream.name == "exact":
        return 1.0
    if stream.name != "blocks":
        return None
    share, window = column.between_share, stream.blocks_per_window
    return inflation(share, rows, stream.block_rows, window, batch_size)


def _requests(stream: Stream, dataset: Dataset) -> tuple[int | None, int | None]:
    """Count an epoch's stored bytes and requests, if the native path serves all arrays."""
    if not isinstance(stream, LoaderStream):
        return None, None
    order, names = stream.loader.plan.order, stream.loader.names
    readers = [open_reader(dataset, name, stream.loader.stream.io) for name in names]
    stored = requests = 0
    for window in range(order.windows):
        spans = order.spans(order.window_blocks(0, window))
        for reader in readers:
            if not isinstance(reader, NativeReader) or "://" in dataset.path:
                return None, None
            found = reader.requests(spans)
            stored += sum(request.stop - request.start for request in found)
            requests += len(found)
    return stored, requests
