"""The plan: pure arithmetic that never exceeds a budget, whatever the data look like."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.core.errors import InputError, TooSmallError
from ooc.core.sizes import format_size
from ooc.store.chunks import scratch_bytes
from ooc.store.chunks.files import BATCH_BYTES
from ooc.store.conventions import read_conventions
from ooc.store.dataset import ArraySpec, Dataset
from ooc.store.selection import Selection
from ooc.stream.options import StreamOptions
from ooc.stream.order import Order, Subset
from ooc.stream.plan import (
    MIB,
    RESERVED_BYTES,
    Demand,
    Plan,
    budget_of,
    held_bytes,
    make_plan,
    memory_for_window,
    window_bytes,
)


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
        for held in (0, 448, 560)
    ]
    assert plans[0].order == plans[1].order == plans[2].order
    assert [each.terms.get("held", 0) // MIB for each in plans] == [0, 448, 560]
    assert [each.slabs for each in plans] == [4, 3, 2]
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


def test_what_was_held_at_first_is_not_for_later_runs_to_carry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond 152 MiB at first, and beyond 208 after a run, in steps of 16 with 11 for noise."""
    monkeypatch.setattr("ooc.stream.plan._HELD_AT_FIRST", [])
    found = []
    for resident in (352, 500, 300, 164, 153):
        monkeypatch.setattr("ooc.stream.plan.resident_bytes", lambda held=resident: held * MIB)
        found.append(held_bytes() // MIB)
    assert found == [224, 304, 160, 32, 16]


@pytest.mark.parametrize(
    ("resident", "before", "held"),
    [(170, None, 0), (172, None, 0), (172.1, None, 16), (172, 136, 32), (156, 136, 0)],
)
def test_what_is_among_a_plans_terms_already_is_not_held(
    monkeypatch: pytest.MonkeyPatch, resident: float, before: int | None, held: int
) -> None:
    monkeypatch.setattr("ooc.stream.plan._HELD_AT_FIRST", [])
    monkeypatch.setattr("ooc.stream.plan.resident_bytes", lambda: int(resident * MIB))
    ordinary = {} if before is None else {"before": before * MIB}
    assert held_bytes(20 * MIB, **ordinary) == held * MIB


def test_a_budget_is_at_most_what_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ooc.stream.plan.allowed_bytes", lambda: 3 * 2**30)
    assert budget_of("3GiB") == 3 * 2**30
    with pytest.raises(InputError) as refused:
        budget_of(3 * 2**30 + 10 * MIB)
    assert str(refused.value) == (
        "the budget of 3.01 GiB is more than the 3.00 GiB that this process may use; set the "
        "memory to 3.00 GiB or less"
    )


@pytest.mark.parametrize(("cores", "readers"), [(None, 6), (2, 6), (9, 9), (16, 16), (64, 16)])
def test_readers_are_one_a_core_of_6_to_16(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, readers: int
) -> None:
    monkeypatch.setattr("ooc.stream.plan.os.cpu_count", lambda: cores)
    assert plan(table(10**6), 1024 * MIB).readers == readers
    assert plan(table(10**6), 1024 * MIB, readers=3).readers == 3


def test_a_plan_tells_its_numbers_to_people_and_programs() -> None:
    """Of 8192 rows in 8 blocks of 1024, of which this side has 5 with 4000 rows."""
    made = plan(table(8192), 512 * MIB, 300, window=3, readers=2, block_rows=1024, seed=7)
    subset = Subset(np.array([0, 1, 2, 5, 7]), np.full(5, 800))
    made = dataclasses.replace(made, order=dataclasses.replace(made.order, subset=subset))
    total = sum(made.terms.values())
    told = format_size(total)
    assert made.facts() == {
        "rows": "4,000",
        "steps": "14 of 300 rows",
        "window": "3,072 rows in 3 blocks",
        "memory": f"{told} of 512 MiB",
    }
    made = dataclasses.replace(made, amplification=1.23456)
    assert made.to_json() == {
        "rows": 4000,
        "batch_size": 300,
        "steps": 14,
        "shuffle": "blocks",
        "seed": 7,
        "blocks": 5,
        "block_rows": 1024,
        "blocks_per_window": 3,
        "window_rows": 3072,
        "windows": 2,
        "readers": 2,
        "read_amplification": 1.235,
        "memory_budget_bytes": 512 * MIB,
        "memory_projected_bytes": total,
        "memory_terms": made.terms,
    }


def test_a_refusal_shows_what_the_memory_is_for() -> None:
    """Without what takes none, in the order of the plan; a batch is there twice."""
    with pytest.raises(TooSmallError) as refused:
        make_plan(
            table(10**6, chunk_rows=1024),
            1024,
            ("X", "y"),
            StreamOptions(memory=100 * MIB, window=2, block_rows=1024),
            Demand(model_bytes=10 * MIB, held_bytes=16 * MIB),
        )
    scratch = scratch_bytes(table(10**6).arrays["X"], 1024)
    slabs, batch = 2 * 2 * 1024 * (520 + 4), 2 * 1024 * 520
    needed = (192 + 10 + 16) * MIB + batch + slabs + scratch
    assert str(refused.value) == (
        f"the budget of 100 MiB is below the {format_size(needed)} that this run needs (reserved "
        f"192 MiB, batch {format_size(batch)}, model 10.0 MiB, held 16.0 MiB, slabs "
        f"{format_size(slabs)}, readers {format_size(scratch)}); raise the memory to "
        f"{-(-needed // MIB)}MiB, lower the batch size, or store smaller chunks"
    )


@pytest.mark.parametrize("batch_size", [1, 1000])
@pytest.mark.parametrize("blocks", [3, 40, 300])
def test_the_memory_for_a_window_is_as_much_as_it_takes(batch_size: int, blocks: int) -> None:
    """Half of what is free, less one reader, is for three windows."""
    data = table(10**6)
    made = plan(data, 1024 * MIB, batch_size, block_rows=1024, readers=5, window=7)
    row, scratch = 4 * 128 + 8 + 4, scratch_bytes(data.arrays["X"], 1024)
    assert window_bytes(made, blocks) == blocks * 1024 * row
    needed = 192 * MIB + 2 * batch_size * (row - 4) + scratch + 6 * blocks * 1024 * row
    memory = memory_for_window(made, blocks)
    assert memory == -(-needed // MIB) * MIB
    order = plan(data, memory, batch_size, block_rows=1024, window=blocks).order
    assert order.blocks_per_window == -(-order.blocks // -(-order.blocks // blocks))


@pytest.mark.parametrize(("slabs", "readers"), [(3, 4), (2, 1)])
def test_a_window_has_the_bytes_of_one_slab_of_those_there_are(slabs: int, readers: int) -> None:
    terms = {"reserved": 5, "slabs": slabs * 700, "readers": readers * 11}
    order = Order(1000, 10, 7)
    made = Plan(order, 8, readers, slabs, terms, 2**30, 1.0, 40, 8, 0)
    assert window_bytes(made, 3) == 300
    assert made.projected == 5 + slabs * 700 + readers * 11
    assert memory_for_window(made, 3000) == -(-(5 + 11 + 6 * 300_000) // MIB) * MIB


def test_a_budget_below_the_minimum_names_both_numbers() -> None:
    with pytest.raises(
        InputError, match=r"budget of 64.0 MiB is below the \d+ MiB .*\d+MiB, lower"
    ):
        plan(table(10**6), 64 * MIB)


@pytest.mark.parametrize(
    ("batch_size", "options", "message"),
    [
        (0, {}, "the batch size must be at least 1, not 0"),
        (
            1001,
            {},
            "a batch of 1001 rows is larger than the dataset of 1000 rows; lower the batch size to "
            "1000 or less",
        ),
        (9, {"lanes": 0}, "lanes must be at least 1 and at most the 4 blocks of the data, not 0"),
        (9, {"lanes": 5}, "lanes must be at least 1 and at most the 4 blocks of the data, not 5"),
        (
            9,
            {"lanes": 2, "shuffle": "none"},
            "2 lanes take turns, so that rows do not come as stored; use one",
        ),
        (9, {"window": 1}, "a window of 1 blocks mixes nothing; it needs at least 2 blocks"),
        (
            9,
            {"window": 2, "lanes": 3},
            "a window of 2 blocks is too small for 3 lanes; take 3 blocks or more",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_in_whole_sentences(
    batch_size: int, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError) as refused:
        plan(table(1000, chunk_rows=250), 1024 * MIB, batch_size, block_rows=250, **options)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("batch_size", "options", "blocks"),
    [
        (1, {}, 4),
        (1000, {}, 4),
        (9, {"lanes": 4}, 4),
        (9, {"window": 3, "lanes": 3}, 3),
        (9, {"window": 1, "shuffle": "none"}, 1),
        (9, {"window": 1, "block_rows": 2000}, 1),
    ],
)
def test_what_can_just_be_is_planned(
    batch_size: int, options: dict[str, object], blocks: int
) -> None:
    options = {"block_rows": 250, **options}
    order = plan(table(1000, chunk_rows=250), 1024 * MIB, batch_size, **options).order
    assert order.block_rows == min(1000, options["block_rows"])  # type: ignore[call-overload]
    # Two windows of 2 for one of 3 that was asked for would not hold a block of each lane.
    assert order.blocks_per_window == blocks


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
