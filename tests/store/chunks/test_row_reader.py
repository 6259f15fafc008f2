"""Which chunks hold which rows, and how what is wrong is told: of a chunk, or of the system."""

import errno
import itertools
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.core.errors import InputError
from ooc.store.answers import ServerError
from ooc.store.chunks.faults import check_fault, check_folder
from ooc.store.chunks.row_reader import BadChunkError, NotStoredError, RowReader


class Naive(RowReader):
    """Reads from memory, chunk by chunk, by the numbers that all readers share."""

    values: np.ndarray

    def read_runs(self, runs: Any, out: np.ndarray, bad: Any = None) -> None:
        for _, start, stop, rows in self._each(runs, out):
            for cell in self._cells(start, stop):
                corner = [number * n for number, n in zip(cell, self.chunks, strict=True)]
                chunk = self.values[
                    tuple(slice(at, at + n) for at, n in zip(corner, self.chunks, strict=True))
                ]
                place = self._place(cell, start, stop)
                above = max(start - corner[0], 0)
                part = rows[place]
                part += chunk[above : above + len(part)]


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 5), st.integers(1, 4)),
    chunks=st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(1, 5)),
    cuts=st.sets(st.integers(0, 20), max_size=6),
)
def test_each_value_of_runs_is_in_one_place_of_one_chunk(
    shape: tuple[int, ...], chunks: tuple[int, ...], cuts: set[int]
) -> None:
    edges = sorted(cut for cut in cuts if cut <= shape[0])
    runs = list(itertools.pairwise(edges))[::2]
    reader = Naive("X", "here", shape, chunks)
    reader.values = np.arange(np.prod(shape)).reshape(shape) + 1
    rows = np.concatenate([np.arange(*run) for run in runs] or [np.arange(0)])
    out = np.zeros((len(rows), *shape[1:]), np.int64)
    reader.read_runs(runs, out)
    np.testing.assert_array_equal(out, reader.values[rows])


def test_chunks_of_rows_are_those_that_hold_some() -> None:
    reader = Naive("X", "here", (25, 5), (10, 3))
    for start, stop, down in ((0, 10, [0]), (0, 11, [0, 1]), (9, 10, [0]), (10, 25, [1, 2])):
        assert list(reader._cells(start, stop)) == [(row, at) for row in down for at in (0, 1)]


def blamed(error: Exception, bad: Any = None, **more: Any) -> BadChunkError:
    reader = Naive("X", "a.zarr", (25, 5), (10, 3))
    reader._folder = more.pop("folder", None)
    notes: list[BadChunkError] = []
    reader._blame(notes, more.pop("cell", (1, 1)), "a.zarr/X/1.1", error, 7, **more)
    (found,) = notes
    return found


def test_a_bad_chunk_is_told_with_its_rows_and_file() -> None:
    found = blamed(ValueError("it is cut"))
    assert str(found) == (
        "chunk 1.1 of array X in a.zarr, rows 10 to 19, cannot be read from a.zarr/X/1.1: it is cut"
    )
    assert (found.rows, found.run, found.cell) == ((10, 19), 7, (1, 1))
    assert blamed(ValueError("x"), cell=(2, 0)).rows == (20, 24)
    assert blamed(OSError(errno.EIO, "broken")).reason == "broken"
    assert blamed(OSError("words")).reason == "words"
    assert blamed(OSError(errno.EIO, "broken"), reason="said").reason == "said"
    with pytest.raises(InputError) as caught:
        blamed(PermissionError(errno.EACCES, "denied"))
    assert str(caught.value) == (
        f"array X of a.zarr cannot be read from a.zarr/X/1.1: denied; no chunk is to blame; {ASK}"
    )
    with pytest.raises(InputError, match=r"from a\.zarr/X/1\.1: as told; no chunk is to blame"):
        blamed(ServerError("busy"), reason="as told")
    with pytest.raises(BadChunkError):
        Naive("X", "a", (5,), (2,))._blame(None, (0,), "f", ValueError("x"), 0)


def test_what_is_not_stored_says_what_to_do() -> None:
    assert str(NotStoredError(0)) == (
        'it is not stored; restore it from its source, or open with missing="fill" if it was left '
        "out as the fill value"
    )
    assert str(NotStoredError(None)) == (
        "it is not stored, and its array's fill_value is null, so that it has no value; restore it "
        "from its source"
    )


ASK = "ask its owner for the permission to read it"
SEE = "see to it, then go on"
GIVE = (
    "give keys that may read it, or may list: a server that allows no listing says so of objects "
    "that are not there, too"
)
FAULTS: list[tuple[BaseException, str, str, str, str]] = [
    (MemoryError(), "a", "", "no memory is left", "lower the memory"),
    (MemoryError("4 GiB"), "a", "", "4 GiB", "lower the memory"),
    (PermissionError(errno.EACCES, "denied"), "a", "", "denied", ASK),
    (PermissionError("denied"), "a", "", "denied", ASK),
    (OSError(errno.EPERM, "denied"), "a", "x", "denied", ASK),
    (OSError(errno.ENOMEM, "no memory"), "a", "", "no memory", SEE),
    (OSError(errno.ENFILE, "too many"), "a", "", "too many", SEE),
    (OSError(errno.ENODEV, "gone"), "a", "", "gone", SEE),
    (OSError(errno.ENOTCONN, "gone"), "a", "", "gone", SEE),
    (ServerError("busy"), "s3://a", "", "busy", "see to the server, then go on"),
    (ServerError("busy"), "s3://a", "said", "said", "see to the server, then go on"),
    (PermissionError("denied"), "s3://a", "", "no permission (denied)", GIVE),
    (PermissionError("denied"), "s3://a", "said", "no permission (said)", GIVE),
]


@pytest.mark.parametrize(("error", "where", "reason", "said", "todo"), FAULTS)
def test_a_fault_of_the_system_is_no_chunk_s(
    error: BaseException, where: str, reason: str, said: str, todo: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_fault(error, "X", where, "f", reason)
    assert str(caught.value) == (
        f"array X of {where} cannot be read from f: {said}; no chunk is to blame; {todo}"
    )


def test_too_many_open_files_tell_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (4096, 99_999))
    with pytest.raises(InputError, match=r"may have 4,096 open: raise that with `ulimit -n`"):
        check_fault(OSError(errno.EMFILE, "too many"), "X", "a", "f")


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), OSError(errno.EIO, "x"), OSError(errno.ENOENT, "x"), OSError("cut"),
     OSError(errno.ESTALE, "x"), NotStoredError(0)],
)  # fmt: skip
def test_damage_of_a_chunk_is_no_fault_of_the_system(error: Exception) -> None:
    for where in ("a", "s3://a"):
        check_fault(error, "X", where, "f")


def test_a_folder_that_is_gone_has_no_bad_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "X")
    said = (
        f"array X of a.zarr cannot be read from {folder}: No such file or directory; no chunk is "
        "to blame; bring it back, then go on"
    )
    for error in (OSError(errno.EIO, "broken"), NotStoredError(0)):
        with pytest.raises(InputError) as caught:
            blamed(error, folder=folder)
        assert str(caught.value) == said
    assert blamed(ValueError("cut"), folder=folder).reason == "cut"
    (tmp_path / "X").mkdir()
    assert blamed(OSError(errno.EIO, "broken"), folder=folder).reason == "broken"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="Not a directory; no chunk is to blame"):
        check_folder(str(tmp_path / "file"), "X", "a.zarr")

    def fail(number: int) -> None:
        def stat(*given: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("ooc.store.chunks.faults.os.stat", stat)

    for number in (errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENOTCONN):
        fail(number)
        with pytest.raises(InputError, match=os.strerror(number)):
            check_folder(folder, "X", "a.zarr")
    for number in (errno.EACCES, errno.ELOOP):
        fail(number)
        check_folder(folder, "X", "a.zarr")
    monkeypatch.undo()
