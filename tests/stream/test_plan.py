"""The plan: pure arithmetic that never exceeds a budget, whatever the data look like."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.core.errors import InputError, TooSmallError
from ooc.store.chunks import scratch_bytes
from ooc.store.chunks.files import BATCH_BYTES
from ooc.store.conventions import read_conventions
from ooc.store.dataset import ArraySpec, Dataset
from ooc.store.selection import Selection
from ooc.stream.options import StreamOptions
from ooc.stream.plan import MIB, RESERVED_BYTES, Demand, Plan, held_bytes, make_plan


def table(
    rows: int, features: int = 128, chunk_rows: int = 1024, target_chunk: int | None = None
) -> Dataset:
    specs: Mapping[str, ArraySpec] = {
        "X": ArraySpec("X", (rows, features), np.dtype("f4"), (chunk_rows, features), None),
        "y": ArraySpec("y", (rows,), np.dtype("i8"), (target_chunk or chunk_rows,), None),
    }
    return Dataset("data.zarr", specs, "X", "y", None)


def plan(dataset: Dataset, memory: int, batch_size: int = 256, **options: object) -> Plan:
    stream = StreamOptions(memory=memory, **options)  # type: ignore[arg-type]
    return make_plan(dataset, batch_size, ("X", "y"), stream)


@given(
    rows=st.integers(1, 10**9),
    features=st.integers(1, 10**5),
    chunk_rows=st.integers(1, 10**5),
    target_chunk=st.integers(1, 10**7),
    memory=st.integers(1, 64 * 1024),
    batch_size=st.integers(1, 10**5),
    shuffle=st.sampled_from(["blocks", "none"]),
    readers=st.integers(1, 64),
    model_bytes=st.integers(0, 10**8),
    held_bytes=st.integers(0, 10**9),
    transfers=st.booleans(),
)
def test_a_plan_fits_or_is_refused_with_both_numbers(
    rows: int,
    features: int,
    chunk_rows: int,
    target_chunk: int,
    memory: int,
    batch_size: int,
    shuffle: str,
    readers: int,
    model_bytes: int,
    held_bytes: int,
    transfers: bool,
) -> None:
    dataset = table(rows, features, chunk_rows, target_chunk)
    stream = StreamOptions(memory=memory * MIB, shuffle=shuffle, readers=readers)
    rest = (Demand(model_bytes, held_bytes=held_bytes), transfers)
    try:
        made = make_plan(dataset, batch_size, ("X", "y"), stream, *rest)
    except TooSmallError as error:
        # What is named is in whole MiB, and enough.
        assert f"raise the memory to {error.needed // MIB}MiB" in str(error)
        enough = dataclasses.replace(stream, memory=error.needed)
        assert make_plan(dataset, batch_size, ("X", "y"), enough, *rest).budget == error.needed
        return
    except InputError as error:
        assert "is larger than the dataset" in str(error)
        return
    assert made.projected <= made.budget == memory * MIB
    assert 1 <= made.readers <= readers
    order = made.order
    assert order.windows * order.blocks_per_window >= order.blocks
    assert order.blocks_per_window >= min(order.blocks, 2) or shuffle == "none"
    row_bytes = 4 * features + 8
    assert made.terms["slabs"] >= 2 * order.window_rows * row_bytes
    other = make_plan(
        dataset, batch_size, ("X", "y"), dataclasses.replace(stream, readers=1), *rest
    )
    assert other.order == order, "the stream must not depend on the readers"


def test_windows_hold_many_blocks_and_are_of_one_size() -> None:
    order = plan(table(20_000_000), 1024 * MIB).order
    assert order.block_rows == 1024
    assert order.blocks_per_window > 150
    assert order.blocks_per_window * order.windows - order.blocks < order.windows


@pytest.mark.parametrize("window", [7, 30, 64, 101])
@pytest.mark.parametrize("lanes", [1, 3, 4, 7])
def test_windows_of_lanes_are_no_larger_than_was_asked_for(window: int, lanes: int) -> None:
    """As many blocks of each lane."""
    order = plan(table(10**6, chunk_rows=1000), 1024 * MIB, window=window, lanes=lanes).order
    assert order.blocks_per_window % lanes == 0
    assert window // 2 < order.blocks_per_window <= window


def test_more_memory_gives_no_smaller_window() -> None:
    sizes = [
        plan(table(20_000_000), RESERVED_BYTES + m * MIB).order.blocks_per_window
        for m in (50, 112, 624)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_small_chunks_are_read_several_at_a_time() -> None:
    assert plan(table(10**6, chunk_rows=16), 1024 * MIB).order.block_rows == 512


def test_blocks_grow_where_other_chunks_are_long() -> None:
    """A target chunk of 32 blocks would be decoded whole for each block of 1024 rows."""
    made = plan(table(50_000_000, target_chunk=32768), 2048 * MIB)
    assert made.order.block_rows > 1024
    assert made.amplification <= 1.25


def test_readers_that_do_not_fit_are_fewer() -> None:
    big_chunks = table(10**6, chunk_rows=50_000)
    assert plan(big_chunks, RESERVED_BYTES + 240 * MIB, readers=8).readers < 8


def test_what_the_process_holds_takes_from_all_but_the_window() -> None:
    dataset, stream = table(20_000_000), StreamOptions(memory=1024 * MIB)
    plans = [
        make_plan(dataset, 256, ("X", "y"), stream, Demand(held_bytes=held * MIB))
        for held in (0, 304, 560)
    ]
    assert plans[0].order == plans[1].order == plans[2].order
    assert [each.terms.get("held", 0) // MIB for each in plans] == [0, 304, 560]
    assert [each.slabs for each in plans] == [3, 3, 2]
    assert all(each.projected <= each.budget for each in plans)
    with pytest.raises(InputError, match=r"held 800 MiB.*raise the memory to 1\d\d\dMiB"):
        make_plan(dataset, 256, ("X", "y"), stream, Demand(held_bytes=800 * MIB))


def test_what_is_held_counts_in_whole_steps_beyond_an_ordinary_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ooc.stream.plan._HELD_AT_FIRST", [])
    found = []
    for resident in (140, 352, 358, 192, 420):
        monkeypatch.setattr("ooc.stream.plan.resident_bytes", lambda held=resident: held * MIB)
        found.append(held_bytes() // MIB)
    assert found == [0, 160, 176, 0, 224]


def test_a_budget_below_the_minimum_names_both_numbers() -> None:
    with pytest.raises(
        InputError, match=r"budget of 64.0 MiB is below the \d+ MiB .*\d+MiB, lower"
    ):
        plan(table(10**6), 64 * MIB)


@pytest.mark.parametrize(("batch_size", "message"), [(0, "at least 1"), (1001, "1001 .* of 1000")])
def test_a_batch_that_cannot_be(batch_size: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(table(1000), 1024 * MIB, batch_size)


def test_a_plan_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan(table(1000), 1024 * MIB, 10).readers = 3  # type: ignore[misc]


def test_rows_on_their_way_from_other_processes_are_in_the_projection() -> None:
    stream = StreamOptions(memory=1024 * MIB, window=64)
    here, there = (
        make_plan(table(10**6), 256, ("X", "y"), stream, transfers=transfers)
        for transfers in (False, True)
    )
    window = here.order.blocks_per_window * 1024 * (4 * 128 + 8 + 4)
    assert there.projected - here.projected == window


def test_what_is_held_beside_the_values_is_in_the_projection() -> None:
    """A draw's weight, its sum and a place; a side's flag and key; of shards, 16 bytes a chunk."""

    def of_rows(dataset: Dataset, **options: object) -> float:
        found = plan(dataset, 1024 * MIB, window=16, **options)
        return found.terms["slabs"] / found.slabs / found.order.window_rows

    data = table(10**6)
    side = dataclasses.replace(data, selection=Selection("row", 1, (2**63,), True, 500_000))
    lacking = read_conventions({"_FillValue": -1.0}, np.dtype("f4"))
    x = dataclasses.replace(data.arrays["X"], conventions=lacking)
    declared = dataclasses.replace(data, arrays={**data.arrays, "X": x})
    alone = of_rows(data)
    assert of_rows(data, sampling="replacement") - alone >= 8 + 8 + 4
    assert of_rows(side) - alone >= 1 + 8
    assert of_rows(declared) - alone >= 1
    sharded = {
        name: dataclasses.replace(spec, shards=(4096, *spec.shape[1:]))
        for name, spec in data.arrays.items()
    }
    found = plan(dataclasses.replace(data, arrays=sharded), 1024 * MIB, window=16).terms
    assert found["index"] == 2 * 16 * -(-(10**6) // 1024)
    for each in (plan(data, 1024 * MIB, sampling="replacement"), plan(side, 1024 * MIB)):
        assert each.terms["table of blocks"] >= 2 * 8 * each.order.blocks


def test_a_reader_is_given_room_for_either_path() -> None:
    """Of short chunks for two batches of requests; of long ones for what zarr-python decodes."""
    short, long = (table(10**6, *shape).arrays["X"] for shape in ((1, 8), (128, 50_000)))
    assert scratch_bytes(short, 8) >= 2 * BATCH_BYTES
    assert scratch_bytes(long, 50_000) >= 2 * 50_000 * 128 * 4
