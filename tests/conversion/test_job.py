"""A conversion as a whole: what it returns, notes and reports, and how it ends where it cannot."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from conversions import MEMORY, converted, small_shards
from numpy.testing import assert_array_equal

import ooc
from ooc.conversion.choice import Choice
from ooc.conversion.formats import Opening, open_source
from ooc.core.errors import InputError
from ooc.core.progress import Progress
from ooc.core.sizes import parse_size
from ooc.shuffle import exact_order
from ooc.store.destinations import LocalDestination
from ooc.stream.missing_values import rule_of
from ooc.version import VERSION


def gaps(path: Path) -> np.ndarray:
    """Write 50 rows of 3 numbers, of which each tenth lacks one."""
    values = np.arange(150, dtype=np.float32).reshape(50, 3)
    values[9::10, 1] = np.nan
    np.save(path, values)
    return values


def test_what_is_returned_and_noted(tmp_path: Path) -> None:
    values = gaps(tmp_path / "a.npy")
    group, result = converted(tmp_path / "a.npy", missing_values="drop", threads=1)
    assert_array_equal(group["X"][:], values[~np.isnan(values).any(axis=1)])
    # Chunks of half a MiB, shards of 128 MiB, of rows of 12 bytes.
    chunk = 2**19 // 12
    assert group["X"].chunks == (chunk, 3)
    assert group["X"].shards == (chunk * (2**27 // (chunk * 12)), 3)
    assert group.attrs["converted"] == {"source": "a.npy", "format": "npy", "ooc": VERSION}
    seconds = result["seconds"]
    assert seconds > 0
    assert result["rows_per_second"] == 45 / seconds
    assert result["bytes_per_second"] == 45 * 12 / seconds
    told = {name: result[name] for name in ("rows", "rows_read", "rows_dropped", "missing")}
    assert told == {"rows": 45, "rows_read": 50, "rows_dropped": 5, "missing": {"X": 5}}
    assert (result["format"], result["shuffled"], result["notes"]) == ("npy", False, [])
    assert result["rows_kept_from_before"] == 0
    assert result["memory_budget_bytes"] == parse_size(MEMORY)
    # One thread: what is reserved, 2 x 2 MiB a group of three, pieces and chunks.
    assert 150 * 2**20 < result["memory_projected_bytes"] < 250 * 2**20


def test_progress_is_told_in_rows_and_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch)
    np.save(tmp_path / "a.npy", np.zeros((2000, 3)))
    told: list[Progress] = []
    ooc.convert(tmp_path / "a.npy", tmp_path / "b", memory=MEMORY, report=told.append)
    assert told[0].text == "opening the source"
    numbers = [each for each in told if not each.text]
    assert numbers[0].rows == 0 and numbers[-1].rows == 2000
    assert {each.total_rows for each in numbers} == {2000}
    for each in numbers:
        assert each.bytes == 24 * each.rows
        assert each.memory_budget_bytes == parse_size(MEMORY)


@pytest.mark.slow
def test_shuffled_rows_are_those_of_the_exact_shuffle(tmp_path: Path) -> None:
    values = np.arange(300.0).reshape(100, 3)
    np.savez(tmp_path / "a.npz", X=values, y=np.array(["b", "a"] * 50))
    group, result = converted(tmp_path / "a.npz", shuffle=True, seed=5)
    order = exact_order(100, 5)
    assert_array_equal(group["X"][:], values[order])
    assert_array_equal(group["y"][:], 1 - order % 2)
    assert group["y"].attrs["categories"] == ["a", "b"]
    told = {name: result[name] for name in ("seed", "shuffled", "rows", "format", "notes")}
    assert told == {"seed": 5, "shuffled": True, "rows": 100, "format": "npz", "notes": []}
    assert "projected" not in result


def test_a_shuffle_that_was_stopped_goes_on_from_what_was_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.npy", tmp_path / "b"
    np.save(source, np.arange(30.0))
    options = {"memory": MEMORY, "report": False, "shuffle": True, "seed": 1}

    def stopped(*parts: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    def converts(place: str, **more: Any) -> int:
        """Return how often the source was converted, with the shuffle, or the source, stopped."""
        calls = []
        with monkeypatch.context() as patched:
            patched.setattr(place, lambda *parts, **named: calls.append(1) or stopped())
            with pytest.raises(KeyboardInterrupt):
                ooc.convert(source, target, **options, **more)
        return len(calls)

    assert converts("ooc.shuffle.external_sort.exact") == 1
    assert {path.name for path in tmp_path.iterdir()} >= {".b.unshuffled"}
    # Nothing is converted again, unless it is to be another dataset.
    assert converts("ooc.shuffle.external_sort.exact") == 1
    assert converts("ooc.conversion.job._convert", dtype="float32") == 1
    result = ooc.convert(source, target, **options)
    assert result["rows"] == 30 and result["columns"] == {"X": "array X (features), float64"}
    assert_array_equal(zarr.open_group(target, mode="r")["X"][:], exact_order(30, 1))
    assert {path.name for path in tmp_path.iterdir()} == {"a.npy", "b"}


@pytest.mark.parametrize(("projected", "most"), [(10**12, 10**12), (1, None)])
def test_what_the_shuffle_tells_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, projected: int, most: int | None
) -> None:
    np.save(tmp_path / "a.npy", np.arange(30.0))
    options = {"memory": MEMORY, "report": False, "threads": 2}
    plain = ooc.convert(tmp_path / "a.npy", tmp_path / "b", **options)
    told = {"left_out": {"z": "it is odd"}, "memory_projected_bytes": projected}
    asked = list[tuple[Any, ...]]()
    monkeypatch.setattr(
        "ooc.shuffle.external_sort.exact",
        lambda *parts, **named: (asked.append(parts), told)[1],
    )
    result = ooc.convert(tmp_path / "a.npy", tmp_path / "c", shuffle=True, seed=3, **options)
    assert result["notes"] == ["left out: z, as it is odd"]
    assert result["memory_projected_bytes"] == (most or plain["memory_projected_bytes"])
    ((dataset, *rest, _),) = asked
    assert rest == [LocalDestination(tmp_path / "c"), parse_size(MEMORY), 3, 2]
    assert dataset.features == "X"


def test_what_the_disk_says_otherwise_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((7, 2)))

    def broken(*parts: Any) -> None:
        raise OSError(errno.EIO, "it is broken")

    monkeypatch.setattr("ooc.conversion.job.copy", broken)
    with pytest.raises((OSError, InputError), match="it is broken"):
        ooc.convert(tmp_path / "a.npy", tmp_path / "b", memory=MEMORY, report=False)


def stop(progress: Progress) -> None:
    if not progress.text and progress.rows >= 800:
        raise KeyboardInterrupt


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({}, {"missing_values": "drop"}, "missing_values"),
        ({"missing_values": "fill:1"}, {"missing_values": "fill:2"}, "missing_values"),
        ({}, {"dtype": "float64"}, "layout"),
        ({}, {"dense": True}, "options"),
        ({"zero_based": True}, {}, "options"),
        ({}, {"image_size": (2, 2)}, "options"),
        ({}, {"target": "X", "missing_values": "keep"}, "layout, missing_values"),
    ],
)
def test_what_another_setting_wrote_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: Any, after: Any, changed: str
) -> None:
    small_shards(monkeypatch)
    np.savez(tmp_path / "a.npz", X=np.zeros(2000, np.float32), b=np.arange(2000.0))
    known = {"memory": MEMORY, "threads": 1}
    with pytest.raises(KeyboardInterrupt):
        ooc.convert(tmp_path / "a.npz", tmp_path / "b", report=stop, **known, **before)
    result = ooc.convert(tmp_path / "a.npz", tmp_path / "b", report=False, **known, **after)
    assert result["notes"] == [
        "begins anew: since the call before, which was stopped, these have changed: " + changed
    ]
    assert result["rows_kept_from_before"] == 0


def refused(source: Path, place: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        ooc.convert(source, place, **{"memory": MEMORY, "report": False} | options)
    return str(caught.value)


def test_how_it_ends_where_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "a.npy", tmp_path / "b"
    np.save(source, np.full((7, 2), np.nan))
    assert refused(source, target, missing_values="drop") == (
        f"no row of {source} is left: each of its 7 rows lacks a value; give --missing-values keep "
        "or fill:NUMBER"
    )
    assert "threads must be a whole number of at least 1, not 0" in refused(
        source, target, threads=0
    )
    assert refused(source, target, missing_values="guess").startswith("missing_values is one of")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("a\n1\n")
    assert refused(tmp_path / "in", tmp_path / "in" / "deep" / "b") == (
        f"{tmp_path}/in/deep/b lies inside the source {tmp_path}/in; choose a path outside it"
    )


def test_what_was_asked_for_is_what_is_opened_and_laid_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((7, 2)))
    asked = list[Any]()

    def opened(path: Any, name: Any, opening: Opening) -> Any:
        asked.append((path, name, opening))
        return open_source(tmp_path / "a.npy", None, opening)

    def laid_out(source: Any, *parts: Any) -> None:
        asked.append(parts)
        raise InputError("enough")

    monkeypatch.setattr("ooc.conversion.job.open_source", opened)
    monkeypatch.setattr("ooc.conversion.job.lay_out", laid_out)
    options = {"columns": ["a"], "without": ["b"], "target": "c", "weight": "d", "dtype": "f2"}
    options["hash_text"] = ["e"]
    for rule, fills in (("fill:3", True), ("drop", False)):
        for more in ({"dense": True}, {"zero_based": True}, {"image_size": (2, 3)}):
            given = {**options, "missing_values": rule, "format": "csv", **more}
            assert refused(tmp_path / "in", tmp_path / "b", **given) == "enough"
            (path, name, opening), parts = asked
            assert (path, name) == (tmp_path / "in", "csv")
            known = {"scratch": tmp_path / ".b.convert", "say": opening.say}
            assert opening == Opening(columns=("a",), memory=parse_size(MEMORY), **known, **more)
            (choice,) = parts
            assert choice == Choice(["a"], "c", "d", ("b",), "f2", rule_of(rule), ("e",))
            assert choice.decodes == fills
            asked.clear()


def test_a_full_disk_leaves_what_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.npy", tmp_path / "b"
    np.save(source, np.zeros((7, 2)))

    def full(*parts: Any) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patched:
        patched.setattr("ooc.conversion.job.copy", full)
        assert refused(source, target) == (
            f"the disk of {target} filled up; free some space and give the same command again to "
            f"go on, or remove {tmp_path}/.b.convert and {tmp_path}/.b.partial"
        )
    assert {path.name for path in tmp_path.iterdir()} >= {".b.convert", ".b.partial"}
    assert ooc.convert(source, target, memory=MEMORY, report=False)["rows"] == 7
    assert {path.name for path in tmp_path.iterdir()} == {"a.npy", "b"}
