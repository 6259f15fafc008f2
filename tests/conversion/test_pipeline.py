"""Rows on their way: chunks and shards are a function of the source, from wherever it goes on."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from conversions import content, number, text
from numpy.testing import assert_array_equal

from ooc.conversion.layout import lay_out
from ooc.conversion.notes import Notes, Standing
from ooc.conversion.pipeline import Group, Growing, Work, copy, in_order
from ooc.conversion.sorting import sort_categories
from ooc.conversion.source import Piece, texts_of
from ooc.core.errors import DataError
from ooc.store.destinations import LocalDestination
from ooc.store.place import Place
from ooc.store.writer import create
from ooc.stream.missing_values import rule_of

WORDS = ["m", "c", "z", None, "a"]


class Made:
    """Rows of a number, a text and a gap now and then, in pieces of given sizes."""

    is_table, path, skipped, held_bytes = True, Path("made"), {}, 0
    columns = {"a": number("a", may_lack=True), "t": text("t")}  # noqa: RUF012

    def __init__(self, sizes: list[int], gaps: int = 7) -> None:
        self.starts = np.cumsum([0, *sizes]).tolist()
        self.rows, self._gaps = self.starts[-1], gaps
        self.begun: list[int] = []

    def values(self, first: int, stop: int) -> dict[str, Any]:
        rows = np.arange(first, stop)
        a = np.where(rows % self._gaps == self._gaps - 1, np.nan, rows)
        return {"a": a, "t": texts_of(np.array([WORDS[(i // 9) % 5] for i in rows], object))}

    def pieces(self, names: list[str], position: Any) -> Iterator[Piece]:
        for index in range(position or 0, len(self.starts) - 1):
            first, stop = self.starts[index : index + 2]
            self.begun.append(index)
            yield Piece(index, first, partial(self.values, first, stop), lambda row: f"row {row}")


def converted(
    folder: Path, source: Made, rule: str, stop: int | None = None, threads: int = 2
) -> tuple[Standing, list[int]]:
    """Write shards of 12 rows in chunks of 4; with `stop`, leave when so many are written."""
    layout = lay_out(source)  # type: ignore[arg-type]
    told: list[int] = []

    def advance(written: int) -> None:
        told.append(written)
        if stop is not None and written >= stop:
            raise KeyboardInterrupt

    fields = {output.name: output.field() for output in layout.outputs}
    folder.parent.mkdir(exist_ok=True)
    notes = Notes(LocalDestination(folder))
    notes.begin({"job": 1})
    with create(folder, fields, {}, chunk_bytes=4 * 8, shard_bytes=12 * 8, resume=True) as writer:
        assert (writer.chunk_rows, writer.shard_rows) == (4, 12)
        work = Work(source, layout, rule_of(rule), threads, threads + 1)  # type: ignore[arg-type]
        standing = copy(work, Growing(writer, notes), advance)
        assert writer.rows == standing.rows_written
    notes.forget()
    return standing, told


def check(folder: Path, source: Made, rule: str, standing: Standing) -> None:
    whole = source.values(0, source.rows)
    kept = ~np.isnan(whole["a"]) if rule == "drop" else np.ones(source.rows, bool)
    group = zarr.open_group(folder, mode="r")
    assert_array_equal(group["X"][:, 0], whole["a"][kept])
    words = np.array([*standing.categories["t"], None], object)[group["t"][:]]
    assert words.tolist() == [WORDS[(i // 9) % 5] for i in np.flatnonzero(kept)]
    assert standing.rows_read == source.rows and standing.rows_written == kept.sum()
    assert standing.shards == -(-kept.sum() // 12)
    gaps = {"a": int(np.isnan(whole["a"]).sum()), "t": words_missing(source.rows)}
    assert dict(standing.missing) == {name: count for name, count in gaps.items() if count}


def words_missing(rows: int) -> int:
    return sum(WORDS[(i // 9) % 5] is None for i in range(rows))


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("sizes", "rule", "threads", "group_bytes"),
    [
        ([40, 1, 3, 12, 7], "drop", 3, 2**21),
        ([12, 24], "keep", 1, 2**21),
        ([1] * 5, "drop", 2, 2**21),
        ([40, 1, 3, 12, 7], "drop", 2, 1),
        ([50], "keep", 2, 2 * 4 * 12),
    ],
)
def test_any_pieces_come_to_the_same_rows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sizes: list[int],
    rule: str,
    threads: int,
    group_bytes: int,
) -> None:
    monkeypatch.setattr("ooc.conversion.pipeline.GROUP_BYTES", group_bytes)
    lengths = list[int]()

    def group(chunks: list[Any], end: Any, parts: list[Any]) -> Group:
        lengths.append(len(chunks))
        return Group(chunks, end, parts)

    monkeypatch.setattr("ooc.conversion.pipeline.Group", group)
    source = Made(sizes)
    standing, told = converted(tmp_path / "a", source, rule, threads=threads)
    check(tmp_path / "a", source, rule, standing)
    assert told[0] == 0 and told[-1] == standing.rows_written
    assert told == sorted(told)
    # Chunks of 4 rows of 12 bytes go together, never those of two shards of three.
    assert max(lengths) == min(-(-standing.rows_written // 4), 3, max(1, group_bytes // 48))


def whole_read(written: int) -> int:
    """Return how many rows were read when so many were left of those whose seventh is missing."""
    return next(rows for rows in range(999) if rows - rows // 7 == written)


@pytest.mark.parametrize(("stop", "rule"), [(13, "drop"), (30, "drop"), (61, "drop"), (48, "keep")])
def test_it_goes_on_in_the_midst_of_a_piece(tmp_path: Path, stop: int, rule: str) -> None:
    """As if it had never been stopped: rows, codes and what was counted."""
    sizes = [5, 50, 17, 9, 3]
    whole, _ = converted(tmp_path / "whole" / "a", Made(sizes), rule)
    with pytest.raises(KeyboardInterrupt):
        converted(tmp_path / "part" / "a", Made(sizes), rule, stop, threads=1)
    source = Made(sizes)
    # The shards whose notes are there count; the rest is written anew.
    standing, told = converted(tmp_path / "part" / "a", source, rule)
    assert told[0] % 12 == 0 and told[0] >= stop - 24
    read = told[0] if rule == "keep" else whole_read(told[0])
    if read:
        assert source.starts[source.begun[0]] < read <= source.starts[source.begun[0] + 1]
    check(tmp_path / "part" / "a", source, rule, standing)
    ends = {"position": None, "skip": 0}
    assert vars(standing) | ends == vars(whole) | ends
    assert content(tmp_path / "part" / "a") == content(tmp_path / "whole" / "a")


def test_it_goes_on_twice_in_the_midst_of_one_piece(tmp_path: Path) -> None:
    for stop in (26, 50):
        with pytest.raises(KeyboardInterrupt):
            converted(tmp_path / "a", Made([5, 80]), "drop", stop, threads=1)
    standing, told = converted(tmp_path / "a", Made([5, 80]), "drop")
    assert told[0] in (36, 48)
    check(tmp_path / "a", Made([5, 80]), "drop", standing)


def test_too_many_texts_are_no_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ooc.conversion.pipeline.MOST_CATEGORIES", 4)
    converted(tmp_path / "a", Made([30, 20]), "keep")
    monkeypatch.setattr("ooc.conversion.pipeline.MOST_CATEGORIES", 3)
    with pytest.raises(DataError) as caught:
        converted(tmp_path / "b", Made([30, 20]), "keep")
    assert str(caught.value) == (
        "column t holds text, of which 4 are different within 50 rows: above 3 it is no "
        "category; hash it with --hash-text t, or leave it out with --without t"
    )


def test_results_come_in_order_and_no_more_are_under_way_than_allowed() -> None:
    taken, lock = [0], threading.Lock()

    def items() -> Iterator[int]:
        for item in range(20):
            with lock:
                taken[0] += 1
            yield item

    with ThreadPoolExecutor(3) as pool:
        results = in_order(pool, lambda item: item * item, items(), 4)
        for done, result in enumerate(results):
            assert result == done * done
            assert taken[0] <= done + 4
    assert taken[0] == 20


def test_codes_are_sorted_over_chunks_and_shards(tmp_path: Path) -> None:
    source = Made([30, 20, 13])
    layout = lay_out(source)  # type: ignore[arg-type]
    standing, _ = converted(tmp_path / "a", source, "keep")
    group = zarr.open_group(tmp_path / "a", mode="r")
    before, x = group["t"][:], group["X"][:]
    notes = Notes(LocalDestination(tmp_path / "a"))
    notes.begin({"job": 1})
    fields = {output.name: output.field() for output in layout.outputs}
    with (
        pytest.raises(KeyboardInterrupt),
        create(tmp_path / "b", fields, {}, chunk_bytes=32, shard_bytes=96, resume=True) as writer,
    ):
        writer.rows = 63
        sort_categories(Place(str(tmp_path / "a")), tmp_path / "a", layout, writer, standing, notes)
        raise KeyboardInterrupt
    known = standing.categories["t"]
    assert known == ["m", "c", "z", "a"]
    after = zarr.open_group(tmp_path / "a", mode="r")["t"][:]
    assert_array_equal(np.array([*sorted(known), None])[after], np.array([*known, None])[before])
    assert_array_equal(zarr.open_group(tmp_path / "a", mode="r")["X"][:], x)
    # What was stopped in the midst of that is not gone on with.
    assert notes.begin({"job": 1}) == (
        "begins anew, as the call before was stopped while it sorted categories"
    )


def test_codes_that_are_sorted_already_are_left_alone(tmp_path: Path) -> None:
    layout = lay_out(Made([3]))  # type: ignore[arg-type]
    notes = Notes(LocalDestination(tmp_path / "a"))
    sort_categories(
        Place(str(tmp_path / "a")),
        tmp_path / "a",
        layout,
        None,
        Standing(categories={"t": ["a", "b"]}),
        notes,
    )  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_notes_are_of_one_job(tmp_path: Path) -> None:
    notes = Notes(LocalDestination(tmp_path / "a"))
    assert notes.begin({"layout": [1], "source": "x", "version": 1}) == ""
    assert notes.begin({"version": 1, "source": "x", "layout": [1]}) == ""
    notes.partial.mkdir()
    assert notes.begin({"layout": [2], "source": "x", "version": 2}) == (
        "begins anew: since the call before, which was stopped, these have changed: layout, version"
    )
    assert not notes.partial.exists()
    assert notes.same({"layout": [2], "source": "x", "version": 2})
    assert not notes.same({"layout": [1], "source": "x", "version": 2})
    notes.forget()
    assert list(tmp_path.iterdir()) == []
