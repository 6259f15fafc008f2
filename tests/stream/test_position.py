"""What a loader plans with, and where it stands."""

import dataclasses
import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import DataError, InputError
from ooc.core.random_keys import Purpose, key
from ooc.store.chunks import BadChunkError
from ooc.store.dataset import Dataset
from ooc.stream import loader as module
from ooc.stream.loader import Loader, names_of
from ooc.stream.options import StreamOptions
from ooc.stream.plan import MIB, Demand
from ooc.stream.reader import WindowReader
from ooc.stream.window import Window

MEMORY = "512MiB"


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 3 * 2**10)


def enough(monkeypatch: pytest.MonkeyPatch, blocks: int) -> list[dict[str, Any]]:
    """Let so many blocks mix well enough; return what is noted of each look at them."""
    looks: list[dict[str, Any]] = []

    def advise(dataset: Dataset, plan: Any, **options: Any) -> None:
        looks.append({"plan": plan, **options})

    monkeypatch.setattr(module, "advise", advise)
    monkeypatch.setattr(module, "chosen_blocks", lambda advice, plan: blocks)
    return looks


def test_a_loader_says_what_it_reads_and_where_it_stands(dataset: Dataset) -> None:
    loader = Loader(dataset, 100, memory=MEMORY, window=7)
    for _ in zip(range(3), loader, strict=False):
        pass
    loader.advance(2, 1000, ends_epoch=False)
    assert loader.facts() == {
        "path": dataset.path,
        "arrays": "X, y",
        **loader.plan.facts(),
        "at": "epoch 0, row 1,300",
    }
    assert (loader.epoch, loader.step, loader.row) == (0, 5, 1300)
    loader.advance(1, 3, ends_epoch=True)
    assert (loader.epoch, loader.step, loader.row) == (1, 6, 0)
    assert loader.facts()["at"] == "epoch 1, row 0"


@pytest.mark.parametrize("sampling", ["once", "replacement"])
def test_a_position_is_told_in_full(dataset: Dataset, sampling: str) -> None:
    side = ooc.split(dataset, 0.3, seed=2)[1]
    options: Any = {"window": 6, "block_rows": 20, "seed": 4, "missing_values": "fill:2"}
    loader = Loader(side, 40, memory=MEMORY, sampling=sampling, **options)
    for _, batch in zip(range(2), loader, strict=False):
        assert batch.seed == key(4, Purpose.BATCH, index=batch.step)
        assert not batch.ends_epoch
    assert loader.state_dict() == {
        "epoch": 0,
        "row": 80,
        "step": 2,
        "skipped": [],
        "left_out": [0, 0, {}],
        "batch_size": 40,
        "sampling": sampling,
        "missing_values": "fill:2",
        "rows": 1003,
        "block_rows": 20,
        "blocks_per_window": loader.plan.order.blocks_per_window,
        "shuffle": "blocks",
        "seed": 4,
        "lanes": 1,
        "selection": side.selection.to_json() if side.selection else None,
    }
    # Rows that are drawn of one side know it by their weights.
    assert (loader.plan.order.subset is None) == (sampling == "replacement")


OTHERS = {
    "batch_size": 65,
    "sampling": "weight",
    "missing_values": "fill",
    "rows": 5,
    "block_rows": 30,
    "blocks_per_window": 90,
    "shuffle": "none",
    "seed": 9,
    "lanes": 2,
    "selection": {"by": "row"},
}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", OTHERS)
def test_a_position_of_another_stream_is_refused_by_what_differs(
    dataset: Dataset, name: str
) -> None:
    loader = Loader(dataset, 64, memory=MEMORY)
    state = loader.state_dict()
    with pytest.raises(InputError) as refused:
        loader.load_state_dict({**state, name: OTHERS[name]})
    assert str(refused.value) == (
        f"the saved position is of another stream: {name} was {OTHERS[name]}, here it is "
        f"{state[name]}; use the same data, batch size, memory and seed"
    )


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", ["epoch", "row", "step", "skipped", *OTHERS])
def test_a_position_without_an_entry_is_none(dataset: Dataset, name: str) -> None:
    loader = Loader(dataset, 64, memory=MEMORY)
    state = loader.state_dict()
    del state[name]
    if name == "missing_values":  # of before there were rules for them
        loader.load_state_dict(state)
        return
    with pytest.raises(InputError) as refused:
        loader.load_state_dict(state)
    assert str(refused.value) == f"the saved position has no entry {name!r}; it is not one"


def test_a_position_of_before_all_was_counted_has_left_nothing_out(dataset: Dataset) -> None:
    loader = Loader(dataset, 64, memory=MEMORY)
    state = loader.state_dict() | {"row": 1002, "epoch": 3, "step": 9}
    del state["left_out"]
    loader.load_state_dict(state)
    assert (loader.epoch, loader.row, loader.step) == (3, 1002, 9)
    assert (loader.skipped_rows, loader.skipped_chunks, loader.missing) == (0, 0, {})
    counted = {"left_out": [7, 2, {"X": 5}], "skipped": [[1, 3, 1, {"X": 2}]]}
    loader.load_state_dict(state | counted)
    assert (loader.skipped_rows, loader.skipped_chunks, loader.missing) == (7, 2, {"X": 5})
    told = loader.state_dict()
    assert {name: told[name] for name in counted} == counted


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("row", "epoch"), [(1003, 0), (-1, 0), (0, -1)])
def test_a_position_outside_an_epoch_is_refused(dataset: Dataset, row: int, epoch: int) -> None:
    loader = Loader(dataset, 64, memory=MEMORY)
    with pytest.raises(InputError) as refused:
        loader.load_state_dict(loader.state_dict() | {"row": row, "epoch": epoch})
    assert str(refused.value) == (
        f"the saved position is row {row} of epoch {epoch}, but an epoch has 1003 rows"
    )
    side = Loader(ooc.split(dataset, 0.25)[1], 64, memory=MEMORY)
    with pytest.raises(InputError, match="row 251 of epoch 0, but an epoch has 251 rows"):
        side.load_state_dict(side.state_dict() | {"row": 251})


def test_blocks_are_looked_at_once_for_what_mixing_depends_on(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = enough(monkeypatch, 5)
    first = Loader(dataset, 64, memory=MEMORY, io="buffered")
    assert [look["io"] for look in looks] == ["buffered"]
    assert first.plan.order.blocks_per_window <= 5
    Loader(dataset, 64, memory=MEMORY, like=first)
    assert len(looks) == 1
    Loader(dataset, 32, memory=MEMORY, like=first)
    Loader(dataset, 64, memory=MEMORY, block_rows=7, like=first)
    assert len(looks) == 3
    Loader(dataset, 64, memory=MEMORY)
    assert len(looks) == 4
    for options in ({"window": 6}, {"window": "fit"}, {"shuffle": "none"}):
        Loader(dataset, 64, memory=MEMORY, **options)  # type: ignore[arg-type]
    assert len(looks) == 4


def test_lanes_have_a_block_each_though_fewer_mix_well(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    enough(monkeypatch, 2)
    assert Loader(dataset, 64, memory=MEMORY, lanes=3).plan.order.blocks_per_window == 3
    assert Loader(dataset, 64, memory=MEMORY).plan.order.blocks_per_window == 2


def test_of_sparse_rows_targets_are_looked_at_where_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = enough(monkeypatch, 2)
    path = write_sparse(tmp_path / "a.zarr", random_matrix(300, 20), y=np.arange(300))
    none = write_sparse(tmp_path / "b.zarr", random_matrix(300, 20))
    assert Loader(ooc.open(none), 10, memory=MEMORY).plan.order.blocks_per_window >= 1
    assert looks == []
    assert Loader(ooc.open(path), 10, memory=MEMORY).plan.order.blocks_per_window >= 1
    assert len(looks) == 1


@pytest.mark.parametrize("rule", ["raise", "skip"])
@pytest.mark.parametrize("is_bad", [False, True])
def test_what_a_sample_cannot_read_leaves_the_window_as_large_as_it_fits(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, rule: str, is_bad: bool
) -> None:
    """Unless a chunk is bad and nothing may be left out."""
    error = DataError("not finite")
    if is_bad:
        error = BadChunkError("X", "a.zarr", (0, 0), "file", (0, 9), "is damaged", 0)

    def advise(*given: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(module, "advise", advise)
    if is_bad and rule == "raise":
        with pytest.raises(BadChunkError):
            Loader(dataset, 64, memory=MEMORY, on_bad_chunk=rule)
        return
    found = Loader(dataset, 64, memory=MEMORY, on_bad_chunk=rule).plan.order
    assert found == Loader(dataset, 64, memory=MEMORY, window="fit").plan.order


def test_what_the_process_holds_is_measured_unless_it_is_known(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def held_bytes(ours: int = 0, before: int = 0) -> int:
        asked.append((ours, before))
        return 32 * MIB

    monkeypatch.setattr(module, "held_bytes", held_bytes)
    assert Loader(dataset, 64, memory=MEMORY).plan.terms["held"] == 32 * MIB
    assert asked == [(0, 136 * MIB)]
    known = Loader(dataset, 64, memory=MEMORY, demand=Demand(5, held_bytes=0, batch_copies=3))
    assert "held" not in known.plan.terms
    assert known.plan.terms["model"] == 5
    assert known.plan.terms["batch"] == 3 * 64 * 20
    assert len(asked) == 1
    monkeypatch.setattr("ooc.stream.plan.allowed_bytes", lambda: 600 * MIB)
    with pytest.raises(InputError, match=r"700 MiB is more than the 600 MiB that this process"):
        Loader(dataset, 64, memory="700MiB")


@pytest.mark.parametrize("window", ["auto", 5])
def test_rows_from_other_processes_have_room_on_their_way(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, window: object
) -> None:
    enough(monkeypatch, 5)
    assert "transfer" not in Loader(dataset, 64, memory=MEMORY, window=window).plan.terms
    monkeypatch.setattr(module, "transfers_rows", lambda: True)
    assert "transfer" in Loader(dataset, 64, memory=MEMORY, window=window).plan.terms


def test_arrays_that_are_read_are_those_that_travel_and_those_that_decide(tmp_path: Path) -> None:
    ones = np.ones(60)
    data = write_dataset(
        tmp_path / "a.zarr", X=ones[:, None], y=np.arange(60) % 2, weight=ones, site=np.arange(60)
    )
    side = ooc.split(data, 0.5, by="site")[0]
    weighed = StreamOptions(sampling="weight")
    assert names_of(data, None, StreamOptions()) == ("X", "y", "weight")
    assert names_of(data, ["site", "X"], StreamOptions()) == ("site", "X")
    assert names_of(data, ["X"], weighed) == ("X", "weight")
    assert names_of(side, ["X", "y"], StreamOptions()) == ("X", "y", "site")
    assert names_of(side, ["X"], StreamOptions(sampling="balanced")) == ("X", "y", "site")


def test_rows_are_looked_at_without_a_trace(tmp_path: Path) -> None:
    x = np.ones((60, 2))
    x[::4, 1] = np.nan
    data = write_dataset(tmp_path / "a.zarr", X=x)
    loader = Loader(data, 8, memory=MEMORY, window=2, missing_values="drop")
    before = loader.state_dict()
    seen = [window.rows(window.order.copy()) for window in loader.looked_at()]
    assert np.sort(np.concatenate(seen)).tolist() == [row for row in range(60) if row % 4]
    assert loader.state_dict() == before
    x[:, 0] = np.nan
    nothing = write_dataset(tmp_path / "b.zarr", X=x)
    with pytest.raises(DataError) as refused:
        list(Loader(nothing, 8, memory=MEMORY, missing_values="drop").looked_at())
    assert str(refused.value) == (
        f"no row of {nothing.path} could be used: each lacks a value or cannot be read"
    )


def rows_of(window: Window) -> list[list[float]]:
    """Return the features of a window in the order in which they are visited, copied."""
    return window.features[window.order].tolist()


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Places of the windows that are really read, noted as it is done."""
    read, noted = WindowReader._read, list[Any]()

    def note(self: WindowReader, place: Any, *how: Any) -> Any:
        noted.append(place)
        return read(self, place, *how)

    monkeypatch.setattr(WindowReader, "_read", note)
    return noted


def test_a_look_at_one_window_reads_no_other(dataset: Dataset, places: list[Any]) -> None:
    loader = Loader(dataset, 64, memory=MEMORY, window=6)
    assert next(loader.looked_at()).index == 0
    assert places == [(0, 0, 0)]
    assert loader.plan.slabs == 4


def test_what_was_looked_at_is_not_read_again(dataset: Dataset, places: list[Any]) -> None:
    options: Any = {"memory": MEMORY, "window": 6}
    expected = [rows_of(each) for each in Loader(dataset, 64, **options).windows(1)]
    places.clear()
    loader = Loader(dataset, 64, **options)
    assert [rows_of(next(loader.looked_at())) for _ in range(3)] == 3 * expected[:1]
    following = Loader(dataset, 64, like=loader, **options)
    assert places == [(0, 0, 0)]
    assert [rows_of(each) for each in following.windows(1)] == expected
    assert places == [(0, index, 0) for index in range(len(expected))]
    # It is the following one's memory: who looked at it reads anew.
    assert rows_of(next(loader.looked_at())) == expected[0]
    assert len(places) == len(expected) + 1
    places.clear()
    # Its memory is that of the windows that came after it: nothing is kept.
    assert [rows_of(each) for each in following.windows(1)] == expected
    assert len(places) == len(expected)


def test_what_was_retried_for_a_look_counts_once_its_window_is_used(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = WindowReader._read

    def hindered(self: WindowReader, place: Any, *how: Any) -> Any:
        source: Any = self._sources["X"]
        source.files.retries += 7 * (place == (0, 0, 0))
        return read(self, place, *how)

    monkeypatch.setattr(WindowReader, "_read", hindered)
    loader = Loader(dataset, 64, memory=MEMORY, window=6)
    for _ in range(2):
        next(loader.looked_at())
    assert loader.retries == 0
    list(loader.windows(1))
    assert loader.retries == 7


def test_a_look_that_went_on_keeps_what_it_saw_last(dataset: Dataset, places: list[Any]) -> None:
    loader = Loader(dataset, 64, memory=MEMORY, window=6)
    expected = [rows_of(each) for each in loader.windows(1)]
    places.clear()
    look = loader.looked_at()
    assert [rows_of(next(look)) for _ in range(2)] == expected[:2]
    look.close()
    assert [rows_of(each) for each in loader.windows(1)] == expected
    assert places == [(0, 0, 0), (0, 1, 0), *((0, index, 0) for index in range(len(expected)))]


def test_what_was_looked_at_is_given_back(dataset: Dataset, places: list[Any]) -> None:
    loader = Loader(dataset, 64, memory=MEMORY, window=6)
    slab = weakref.ref(next(loader.looked_at()).features.base)
    gc.collect()
    assert slab() is not None
    loader.forget()
    gc.collect()
    assert slab() is None
    next(loader.looked_at())
    assert len(places) == 2


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"window": 4}, {"arrays": ["X"]}, {"missing_values": "drop"}]
)
def test_what_another_stream_looked_at_is_not_taken(
    dataset: Dataset, places: list[Any], other: dict[str, Any]
) -> None:
    options: Any = {"memory": MEMORY, "window": 6}
    loader = Loader(dataset, 64, **options)
    next(loader.looked_at())
    following = Loader(dataset, 64, like=loader, **{**options, **other})
    expected = [rows_of(each) for each in Loader(dataset, 64, **{**options, **other}).windows(1)]
    places.clear()
    assert [rows_of(each) for each in following.windows(1)] == expected
    assert len(places) == len(expected)


def test_windows_that_are_named_are_read_in_their_order(dataset: Dataset) -> None:
    loader = Loader(dataset, 64, memory=MEMORY, window=6)
    places = [(2, 3, 5), (0, 1, 0), (2, 0, 0)]
    found = [(each.epoch, each.index, each.start) for each in loader.windows(9, places)]
    assert found == places
    last = loader.plan.order.windows - 1
    loader.load_state_dict(loader.state_dict() | {"epoch": 1, "row": 1002})
    found = [(each.epoch, each.index) for each in loader.windows(3)]
    assert found == [(1, last), *((2, window) for window in range(last + 1))]


def test_a_batch_cannot_be_changed_and_knows_what_travels(dataset: Dataset) -> None:
    batch = next(iter(Loader(dataset, 10, memory=MEMORY)))
    assert batch.target is batch["y"]
    assert batch.weight is None
    assert batch.importance is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch.step = 3  # type: ignore[misc]


def test_a_reader_is_given_what_the_loader_was(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SeenError(Exception):
        pass

    def reader(*given: object) -> None:
        raise SeenError(*given)

    monkeypatch.setattr(module, "WindowReader", reader)
    options: Any = {"io": "buffered", "on_bad_chunk": "skip", "missing_values": "fill:3"}
    loader = Loader(dataset, 64, memory=MEMORY, arrays=["y", "X"], **options)
    with pytest.raises(SeenError) as seen:
        next(iter(loader))
    assert seen.value.args == (
        dataset,
        ("y", "X"),
        loader.plan,
        "buffered",
        "skip",
        "fill:3",
        None,
    )


def test_what_was_retried_of_an_epoch_is_told(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.WindowReader, "retries", property(lambda reader: 7))
    loader = Loader(dataset, 64, memory=MEMORY)
    assert loader.retries == 0
    list(loader)
    assert loader.retries == 7
