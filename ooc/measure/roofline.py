"""The hardware's own limit for a training run, measured beside the run itself, on the very data.

It is the longer of two times: the disk's, and the processors' total divided among the cores.
"""

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.figures import make_figure, save_figure
from ooc.core.progress import Report, silent
from ooc.engines.engine import make_engine
from ooc.kernels.rows import gather_rows, tile_rows
from ooc.models.declarations import kernel_of
from ooc.models.train_state import start as start_state
from ooc.store.chunks import open_reader
from ooc.store.chunks.at_once import loaded_kernel
from ooc.store.chunks.codecs import decode_chunk
from ooc.store.chunks.decoded import DecodedReader
from ooc.store.chunks.files import FileReader, Request
from ooc.store.chunks.native import NativeReader
from ooc.store.conventions import Conventions, decode_in_place, stored_part
from ooc.store.dataset import Dataset, check_one_store
from ooc.training.trainer import Trainer

# What the gradient takes of a window's time at least, where the gather alone was measured slower.
LEAST_SHARE = 0.01
# Enough that a measurement takes a good part of a second, on any machine.
SAMPLE_BYTES = 2 * 10**9
DISK_THREADS = 4
Spans = list[tuple[int, int]]
PARTS = ("read", "decode", "gather", "gradient", "python", "idle")


@dataclass(frozen=True)
class Costs:
    """Seconds that a decoded byte costs: the disk with requests in flight, else one core."""

    disk: float
    read: float
    decode: float
    gather: float
    gradient: float

    def roofline(self, cores: int) -> float:
        """Return the most decoded bytes a second that disk and cores allow."""
        processors = (self.read + self.decode + self.gather + self.gradient) / cores
        return 1.0 / max(self.disk, processors)


@dataclass(frozen=True)
class Round:
    """The parts' costs, the trainer's own epoch, and the bytes a second that the parts allow."""

    costs: Costs
    seconds: float
    processor_seconds: float
    wait_seconds: float
    bytes: int
    roofline: float

    @property
    def rate(self) -> float:
        """Decoded bytes a second of the trainer."""
        return self.bytes / self.seconds

    @property
    def fraction(self) -> float:
        """The trainer's rate over the roofline."""
        return self.rate / self.roofline

    def core_seconds(self, cores: int) -> dict[str, float]:
        """Return where the cores' time went, by `PARTS`."""
        known = {part: getattr(self.costs, part) * self.bytes for part in PARTS[:4]}
        known["python"] = max(0.0, self.processor_seconds - sum(known.values()))
        known["idle"] = max(0.0, cores * self.seconds - self.processor_seconds)
        return known


def bench(
    dataset: Dataset, trainer: Trainer, rounds: int = 3, report: Report = silent
) -> dict[str, Any]:
    """Measure the parts, the roofline and a whole cold epoch, several times.

    Parameters
    ----------
    dataset
        Local, and read by the native path; decoding by attributes is part of the limit's decoding.
    trainer
        What to run; its model must have a kernel that does not call BLAS: of any other there is
        no limit to compare with.

    Returns
    -------
    dict
        Medians under the keys of the command line's JSON, and each round.
    """
    if dataset.arrays[dataset.features].is_sparse:
        raise InputError(
            f"bench knows the limit of dense rows, and {dataset.features} of {dataset.path} is a "
            "sparse matrix; train it with ooc train, which tells its speed"
        )
    check_one_store(dataset, "measured")
    if dataset.arrays[dataset.features].is_joined:
        raise InputError(
            f"bench knows the limit of one array, and the features {dataset.features} of "
            f"{dataset.path} are put together; train it with ooc train, which tells its speed"
        )
    if dataset.arrays[dataset.features].overlap:
        raise InputError(
            f"bench knows the limit of rows that are stored, and those of {dataset.path} overlap "
            f"(transform={dataset.transform!r}); train it with ooc train, which tells its speed"
        )
    plan = trainer.loader(dataset).plan
    kernel = kernel_of(trainer.model, trainer.layout(dataset))
    if kernel is None or kernel.uses_blas:
        why = "has no compiled kernel" if kernel is None else "multiplies matrices by BLAS"
        raise InputError(
            f"bench knows the limit of one core's own kernels, but {trainer.model.name} {why}; "
            "choose another --model"
        )
    cores = len(os.sched_getaffinity(0))
    # The first epoch compiles and touches all that later ones find ready.
    _kernel_costs(trainer, dataset)
    before, measured = _costs(dataset, trainer), []
    for _ in range(rounds):
        drop_from_cache(dataset)
        begun = time.process_time()
        results = trainer.fit(dataset, report=report).results
        processor = time.process_time() - begun
        after = _costs(dataset, trainer)
        # The mean of what was measured right before and after: the machine drifts.
        costs = Costs(*np.mean([astuple(before), astuple(after)], axis=0).tolist())
        seconds, total = results["seconds"], results["bytes_per_second"] * results["seconds"]
        waited, limit = results["wait_seconds"], costs.roofline(cores)
        measured.append(Round(costs, seconds, processor, waited, int(total), limit))
        before = after
    ranked = sorted(measured, key=lambda each: each.fraction)
    middle = ranked[len(measured) // 2]
    fractions = [each.fraction for each in ranked]
    parts = ("disk", "decode", "gather", "gradient")
    return {
        "rows": dataset.rows,
        "rounds": rounds,
        "cores": cores,
        "bytes_per_second": statistics.median(each.rate for each in measured),
        "roofline_bytes_per_second": statistics.median(each.roofline for each in measured),
        "fraction_of_roofline": statistics.median(fractions),
        "fraction_spread": [fractions[0], fractions[-1]],
        **{f"{part}_bytes_per_second": 1 / getattr(middle.costs, part) for part in parts},
        "seconds": middle.seconds,
        "wait_seconds": middle.wait_seconds,
        "core_seconds": middle.core_seconds(cores),
        "memory_budget_bytes": plan.budget,
        "memory_projected_bytes": plan.projected,
        "blocks_per_window": plan.order.blocks_per_window,
        "each_round": [{**asdict(each), "fraction": each.fraction} for each in measured],
    }


def drop_from_cache(dataset: Dataset) -> None:
    """Ask the kernel to forget the dataset's files, so that the next read is cold."""
    for file in (Path(dataset.path), *Path(dataset.path).rglob("*")):
        if file.is_file():
            with file.open("rb") as stream:
                os.fdatasync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def draw_bars(result: Mapping[str, Any], path: Path) -> None:
    """Draw where the cores' time went, as one bar, and the rates beside the roofline, as a PNG."""
    figure = make_figure(8, 3.6)
    above, below = figure.subplots(2, 1, height_ratios=[2, 1])
    names = ["trainer", "roofline", "disk", "decode, one core", "gather, one core"]
    keys = ["", "roofline_", "disk_", "decode_", "gather_"]
    rates = [result[f"{key}bytes_per_second"] / 1e9 for key in keys]
    colours = ["tab:blue", "black", *["silver"] * 3]
    bars = above.barh(names[::-1], rates[::-1], color=colours[::-1])
    above.bar_label(bars, fmt="%.2f", padding=3)
    above.margins(x=0.1)
    above.set_xlabel("decoded GB/s")
    spent = result["core_seconds"]
    total, start = sum(spent.values()), 0.0
    for part in PARTS:
        share = 100 * spent[part] / total
        colour = "lightgrey" if part == "idle" else None
        below.barh([""], [share], left=start, label=f"{part} {share:.0f}%", color=colour)
        start += share
    below.set_xlim(0, 100)
    below.set_xlabel("percent of the cores' time in the trainer's epoch")
    figure.legend(ncols=len(PARTS), loc="outside lower center", frameon=False, fontsize="small")
    save_figure(figure, path, dpi=120)


def _costs(dataset: Dataset, trainer: Trainer) -> Costs:
    loader = trainer.loader(dataset)
    order, row_bytes = loader.plan.order, loader.plan.row_bytes
    # Blocks in the order of the first windows: what the disk will be asked for.
    first = [order.window_blocks(0, window) for window in range(order.windows)]
    blocks = np.concatenate(first)[: max(1, SAMPLE_BYTES // (order.block_rows * row_bytes))]
    spans = order.spans(blocks)
    sampled = sum(stop - start for start, stop in spans) * row_bytes
    found = [_native(dataset, name, trainer.stream.io) for name in loader.names]
    drop_from_cache(dataset)
    disk, read = _read_costs([reader for reader, _ in found], spans, sampled)
    decode = sum(_decode_cost(*each, spans[:64], row_bytes) for each in found)
    gathered, whole = _kernel_costs(trainer, dataset)
    return Costs(disk, read, decode, gathered, max(whole - gathered, LEAST_SHARE * whole))


def _native(dataset: Dataset, name: str, io: str) -> tuple[NativeReader, Conventions | None]:
    """Return what reads stored numbers, and how they are decoded by what attributes declare."""
    found = open_reader(dataset, name, io)
    stored = found.stored if isinstance(found, DecodedReader) else found
    if isinstance(stored, NativeReader) and "://" not in dataset.path:
        return stored, found.conventions if isinstance(found, DecodedReader) else None
    raise InputError(
        f"array {name} of {dataset.path} is not read by the native path, so that there is no limit "
        "of the hardware to compare with; `ooc info` says why"
    )


def _read_costs(readers: Sequence[NativeReader], spans: Spans, sampled: int) -> tuple[float, float]:
    """Read stored bytes only, several requests in flight: seconds and core-seconds a byte."""
    parts = [spans[number :: 2 * DISK_THREADS] for number in range(2 * DISK_THREADS)]
    files = [reader.files for reader in readers for _ in parts]
    requests = [reader.requests(part) for reader in readers for part in parts]

    def read(reader: FileReader, wanted: list[Request]) -> None:
        for request, data in reader.read_all(wanted):
            if data is None:
                reader.read(request)

    begun, processor = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(DISK_THREADS) as pool:
        list(pool.map(read, files, requests))
    seconds, processor = time.perf_counter() - begun, time.process_time() - processor
    return seconds / sampled, processor / sampled


def _decode_cost(
    reader: NativeReader, conventions: Conventions | None, spans: Spans, row_bytes: int
) -> float:
    """Decode chunks that are in memory, on one core: its seconds for one byte of all arrays."""
    stored = []
    for request in reader.requests(spans):
        data, first = np.frombuffer(reader.files.read(request), np.uint8), request.start
        stored += [data[j.start - first : j.stop - first].copy() for j in request.wanted_for]
    values = np.zeros(reader.layout.chunks, conventions.decoded if conventions else np.uint8)
    chunk = np.full(reader.chunk_bytes, 0, np.uint8)
    if conventions is not None:
        chunk = stored_part(conventions, values).reshape(-1).view(np.uint8)
    at_once = reader.whole if loaded_kernel() is not None else None
    if at_once is not None:  # compiles, where it is not in the cache
        at_once.decode(stored[:1], chunk)
    repeats = max(1, 256 // len(stored))
    begun = time.perf_counter()
    for _ in range(repeats):
        if at_once is not None:
            at_once.decode(stored, chunk)
        for encoded in stored:
            if at_once is None:
                decode_chunk(reader.layout.decoders, encoded.data, chunk)
            if conventions is not None:
                decode_in_place(conventions, values)
    seconds = (time.perf_counter() - begun) / repeats
    return seconds / (sum(stop - start for start, stop in spans) * row_bytes)


def _kernel_costs(trainer: Trainer, dataset: Dataset) -> tuple[float, float]:
    """Train on one window in memory, several times: seconds a byte of the gather and of all."""
    loader = trainer.loader(dataset)
    start = np.zeros(trainer.layout(dataset).size, np.float32)
    train_state = start_state((trainer.optimizer,), start, trainer.model)
    engine = make_engine(trainer.model, loader, train_state)
    whole, gathered = [], []
    windows = loader.windows(1)
    window = next(windows)
    values = window.features[:1].size
    tile = np.empty((tile_rows(values), values), np.float32)
    for _ in range(5):
        begun = time.perf_counter()
        engine.advance(replace(window))
        middle = time.perf_counter()
        gather_rows(window.features, window.order, tile)
        whole.append(middle - begun)
        gathered.append(time.perf_counter() - middle)
    size = len(window.order) * loader.plan.row_bytes
    return statistics.median(gathered) / size, statistics.median(whole) / size
