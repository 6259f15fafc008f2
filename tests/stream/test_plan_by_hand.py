"""The plan against a naive twin: windows and blocks are tried, and terms added up by hand."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from ooc.core.errors import InputError, TooSmallError
from ooc.store.chunks import scratch_bytes
from ooc.store.conventions import read_conventions
from ooc.store.dataset import ArraySpec, Dataset
from ooc.store.selection import Selection
from ooc.store.sparse import SparseSpec
from ooc.stream.options import StreamOptions
from ooc.stream.plan import Demand, Plan, make_plan

MIB = 2**20
NAMES = ("X", "y")
LACKING = read_conventions({"_FillValue": -1.0}, np.dtype("f4"))


def data_of(x: ArraySpec, target_chunk: int, is_side: bool = False) -> Dataset:
    rows = x.shape[0]
    y = ArraySpec("y", (rows,), np.dtype("i8"), (target_chunk,), None)
    side = Selection("row", 1, (2**63,), True, rows // 2) if is_side else None
    return Dataset("data.zarr", {"X": x, "y": y}, "X", "y", None, selection=side)


def dense(rows: int, features: int, chunk: int, lacks: bool = False, shards: bool = False) -> Any:
    shard = (4 * chunk, features) if shards else None
    conventions = LACKING if lacks else None
    return ArraySpec("X", (rows, features), np.dtype("f4"), (chunk, features), shard, conventions)


def sparse(counts: np.ndarray, unit: int, chunk: int, kind: str = "f4") -> SparseSpec:
    """Describe a matrix by the non-zeros of each row, which are known by `unit` of them."""
    places = np.concatenate([[0], np.cumsum(counts)])
    stored = int(places[-1])
    parts = (
        ArraySpec("X/data", (stored,), np.dtype(kind), (1000,), None),
        ArraySpec("X/indices", (stored,), np.dtype("i4"), (1000,), None),
        ArraySpec("X/indptr", (len(places),), np.dtype("i8"), (1000,), None),
    )
    kept = np.concatenate([places[:-1:unit], places[-1:]])
    shape, dtype = (len(counts), 5000), np.dtype(kind)
    longest = int(counts.max())
    return SparseSpec(
        "X", shape, dtype, (chunk, 5000), None, None, None, None, parts, unit, kept, longest
    )


def spread(specs: Sequence[ArraySpec], block_rows: int, rows: int) -> Iterator[tuple[int, int]]:
    """Yield decoded and used bytes of each of the first 64 blocks."""
    for first in itertools.islice(range(0, rows, block_rows), 64):
        stop = min(first + block_rows, rows)
        decoded = sum(spec.decoded_bytes(first, stop) for spec in specs)
        yield decoded, (stop - first) * sum(spec.row_bytes for spec in specs)


def decoded_over_used(specs: Sequence[ArraySpec], block_rows: int, rows: int) -> float:
    decoded, used = map(sum, zip(*spread(specs, block_rows, rows), strict=True))
    return decoded / used


def twin(
    data: Dataset, batch: int, stream: StreamOptions, demand: Demand, transfers: bool, budget: int
) -> dict[str, Any]:
    """Plan as the documentation says; where it does not fit, only what is needed."""
    specs, rows = [data.arrays[name] for name in NAMES], data.stored_rows
    mixes, is_drawn, is_side = stream.shuffle == "blocks", stream.sampling != "once", data.selection
    lanes, wanted, x = stream.lanes, stream.blocks, specs[0]
    row = sum(spec.row_bytes for spec in specs)
    # An address and a count for sparse rows; an int32 place in the order for each.
    beside = 4 + (10 if is_side else 0) + (24 if is_drawn else 0) + 2 * x.declares_missing
    in_slab = beside + 8 + (24 if x.is_sparse else x.row_bytes)
    batch_row = 8 + (24 if x.is_sparse else x.row_bytes)
    of_batch = batch * batch_row
    if isinstance(x, SparseSpec):
        of_batch += min(batch * x.longest, x.nonzeros) * (x.dtype.itemsize + 4 + 8)
    terms = {
        "reserved": 192 * MIB,
        "batch": demand.batch_copies * of_batch,
        "model": demand.model_bytes,
        "index": sum(spec.index_bytes for spec in specs),
    }
    free = budget - sum(terms.values()) - max(scratch_bytes(spec, x.chunks[0]) for spec in specs)
    slab = max(free, 0) // 2 // 3
    block = stream.block_rows or x.chunks[0]
    while stream.block_rows is None and block < rows:
        is_poor = block * row < 256 * 1024 or decoded_over_used(specs, block, rows) > 1.25
        if not is_poor or min(slab, 96 * MIB) < 64 * 2 * block * row:
            break
        block *= 2
    block = min(block, rows)
    blocks = -(-rows // block)
    if lanes > blocks:
        return {"refused": f"at most the {blocks} blocks of the data, not {lanes}"}

    def bytes_of(window: int) -> int:
        found = window * block * in_slab
        if isinstance(x, SparseSpec):
            found += int(x.heaviest(block)[min(window, blocks) - 1]) * (x.dtype.itemsize + 4)
        return found

    limit = slab if wanted else min(slab, 96 * MIB)
    fits = 0
    while fits < blocks + lanes - 1 and bytes_of(fits + 1) <= limit:
        fits += 1
    most = max(fits, lanes, min(2, blocks) if mixes else 1)
    most = min(most, wanted or most)
    windows = -(-blocks // most)
    even = next(n for n in itertools.count(1) if n * windows >= blocks)
    whole = [n for n in range(lanes, most + lanes, lanes) if n >= even or n + lanes > most]
    window = whole[0]
    scratch = max(scratch_bytes(spec, block) for spec in specs)
    terms |= {"held": demand.held_bytes or 0, "saving": demand.saved_bytes // MIB * MIB}
    beside = sum(terms.values())
    terms["table of blocks"] = 32 * blocks if is_drawn or is_side else 0
    terms["transfer"] = bytes_of(window) if transfers else 0
    three = beside + 3 * bytes_of(window) + scratch <= budget
    four = sum(terms.values()) + 4 * bytes_of(window) + stream.readers * scratch <= budget
    slabs = 4 if four else 3 if three else 2
    terms["slabs"] = slabs * bytes_of(window)
    # Beforehand a sample of 64 blocks: a block of the widest array, and moments of its columns.
    widest = 8 if x.is_sparse else max(8, x.row_bytes)
    values = 1 if x.is_sparse else x.shape[1]
    before = 192 * MIB + terms["index"] + terms["held"] + block * widest + scratch
    moments = min(values * (128 + (24 * 64 if blocks > 64 else 0)), 32 * MIB, budget - before)
    moments = max(0, moments)
    early = before + moments if mixes else 0
    needed = max(sum(terms.values()) + scratch, early)
    if needed > budget:
        return {"needed": needed}
    readers = min(stream.readers, (budget - sum(terms.values())) // scratch)
    terms["readers"] = readers * scratch
    terms["statistics"] = max(0, early - sum(terms.values()))
    return {
        "block": block,
        "window": window,
        "slabs": slabs,
        "readers": readers,
        "terms": {name: size for name, size in terms.items() if size},
        "amplification": pytest.approx(decoded_over_used(specs, block, rows)),
        "row": row,
        "largest": max(batch, demand.largest_batch),
        "moments": moments,
    }


def of_plan(plan: Plan) -> dict[str, Any]:
    return {
        "block": plan.order.block_rows,
        "window": plan.order.blocks_per_window,
        "slabs": plan.slabs,
        "readers": plan.readers,
        "terms": {name: size for name, size in plan.terms.items() if size},
        "amplification": plan.amplification,
        "row": plan.row_bytes,
        "largest": plan.largest_batch,
        "moments": plan.moment_bytes,
    }


def check(data: Dataset, batch: int, stream: StreamOptions, demand: Demand, moves: bool) -> None:
    budget: Any = stream.memory
    expected = twin(data, batch, stream, demand, moves, budget)
    while "needed" in expected:
        # The next whole MiB, of which a plan may want more again.
        budget = -(-expected["needed"] // MIB) * MIB
        expected = twin(data, batch, stream, demand, moves, budget)
    if "refused" in expected:
        with pytest.raises(InputError, match=expected["refused"]):
            make_plan(data, batch, NAMES, stream, demand, moves)
        return
    if budget != stream.memory:
        with pytest.raises(TooSmallError) as refused:
            make_plan(data, batch, NAMES, stream, demand, moves)
        assert refused.value.needed == budget
        stream = dataclasses.replace(stream, memory=budget)
    made = make_plan(data, batch, NAMES, stream, demand, moves)
    assert of_plan(made) == expected
    order = made.order
    assert (order.rows, order.shuffle, made.budget) == (data.stored_rows, stream.shuffle, budget)
    assert (order.seed, order.lanes) == (stream.seed, stream.lanes)


def some_stream(rng: np.random.Generator, block_rows: int | None, lanes: int) -> StreamOptions:
    is_drawn = lanes == 1 and rng.random() < 0.3
    mixes = is_drawn or lanes > 1 or rng.random() < 0.7
    return StreamOptions(
        memory=int(
            MIB * (2 ** rng.uniform(8, 12) if rng.random() < 0.6 else rng.uniform(190, 260))
        ),
        seed=int(rng.integers(10)),
        shuffle="blocks" if mixes else "none",
        window=int(rng.integers(2 * lanes, 300)) if rng.random() < 0.4 else "fit",
        lanes=lanes,
        sampling="replacement" if is_drawn else "once",
        readers=int(rng.integers(1, 40)),
        block_rows=block_rows,
    )


def some_demand(rng: np.random.Generator) -> Demand:
    model, held, saved = (int(MIB * 2 ** rng.uniform(-2, 8)) for _ in range(3))
    held_bytes = None if rng.random() < 0.3 else held
    if rng.random() < 0.4:
        return Demand(model // 100, 1, 0, held_bytes)
    return Demand(model, int(rng.integers(5)), int(rng.integers(2000)), held_bytes, saved)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("seed", range(4))
def test_a_plan_is_that_of_trying_windows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(120):
        rows, features, chunk = (int(2 ** rng.uniform(*of)) for of in ((0, 19), (0, 17), (0, 11)))
        lanes = int(rng.integers(2, 5)) if rows > 1000 * chunk and rng.random() < 0.5 else 1
        block_rows = int(rng.integers(50, 3000)) if lanes == 1 and rng.random() < 0.3 else None
        target_chunk = chunk if rng.random() < 0.5 else int(2 ** rng.uniform(0, 17))
        x = dense(rows, features, min(chunk, rows), rng.random() < 0.5, rng.random() < 0.5)
        data = data_of(x, min(target_chunk, rows), rows > 1 and rng.random() < 0.5)
        batch = int(rng.integers(1, min(data.rows, 2000 if rng.random() < 0.6 else 8) + 1))
        stream = some_stream(rng, block_rows, lanes)
        check(data, batch, stream, some_demand(rng), rng.random() < 0.5)


@pytest.mark.parametrize("seed", range(2))
def test_a_plan_of_sparse_rows_is_that_of_trying_windows(seed: int) -> None:
    """Of any blocks the heaviest may meet in a window."""
    rng = np.random.default_rng(seed)
    for _ in range(20):
        counts = rng.integers(0, 2000, 4000) * (rng.random(4000) < 0.5)
        data = data_of(sparse(counts, int(rng.choice([1, 10])), 40, rng.choice(["f4", "f8"])), 500)
        stream = some_stream(rng, 10 * int(rng.integers(1, 20)), int(rng.integers(1, 4)))
        check(data, int(rng.integers(1, 300)), stream, some_demand(rng), rng.random() < 0.5)


def test_blocks_of_sparse_rows_begin_where_the_place_of_non_zeros_is_known() -> None:
    data = data_of(sparse(np.full(104, 3), 10, 40), 500)
    for block_rows in (20, 100, 104, 105):
        stream = StreamOptions(memory="1GiB", block_rows=block_rows)
        assert make_plan(data, 5, NAMES, stream).order.block_rows == min(block_rows, 104)
    with pytest.raises(InputError) as refused:
        make_plan(data, 5, NAMES, StreamOptions(memory="1GiB", block_rows=95))
    assert str(refused.value) == (
        "a block of 95 rows does not go with X, where the place of every 10 rows is known; take a "
        "multiple of 10"
    )


@pytest.mark.parametrize(
    ("features", "chunk", "target_chunk", "block"),
    [
        (126, 512, 512, 512),  # 256 KiB
        (125, 512, 512, 1024),  # 254 KiB
        (254, 1000, 64_000, 1000),  # 64 blocks share a target chunk, which is 1.25 times as much
        (126, 1000, 32_000, 2000),  # 32 do: 1.5 times
    ],
)
def test_a_block_is_doubled_while_it_is_small_or_wasteful(
    features: int, chunk: int, target_chunk: int, block: int
) -> None:
    data = data_of(dense(10**6, features, chunk), target_chunk)
    found = make_plan(data, 5, NAMES, StreamOptions(memory="8GiB")).order.block_rows
    assert found == block


@pytest.mark.parametrize("shuffle", ["blocks", "none"])
def test_rows_as_stored_need_no_room_for_a_sample_of_blocks(shuffle: str) -> None:
    data = data_of(dense(100, 100_000, 1), 1)
    stream = StreamOptions(memory=400 * MIB, shuffle=shuffle, readers=1, block_rows=1, window=2)
    terms = make_plan(data, 1, NAMES, stream).terms
    assert ("statistics" in terms) == (shuffle == "blocks")


def test_lanes_of_sparse_rows_that_fit_are_one_window() -> None:
    """51 blocks of 4 lanes: a second window of 3 would mix badly."""
    stream = StreamOptions(memory="1GiB", block_rows=10, lanes=4, window="fit")
    order = make_plan(data_of(sparse(np.full(510, 3), 10, 40), 500), 5, NAMES, stream).order
    assert (order.blocks_per_window, order.windows) == (52, 1)
