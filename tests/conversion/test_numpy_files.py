"""NPY and NPZ: rows from their place in the file, and what is not whole is refused."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ooc.conversion.formats import Opening
from ooc.conversion.numpy_files import NumpySource, open_npy, open_npz
from ooc.conversion.source import Texts
from ooc.core.errors import DataError, InputError


def npy(path: Path, values: Any) -> NumpySource:
    np.save(path, values)
    return open_npy(path, Opening())


def npz(path: Path, save: Any = np.savez, **arrays: Any) -> NumpySource:
    save(path, **arrays)
    return open_npz(path, Opening())


def read(source: NumpySource, names: list[str], position: Any = None) -> dict[str, np.ndarray]:
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for piece in source.pieces(names, position):
        values = piece.read()
        assert list(values) == names or set(values) == set(names)
        for name, each in values.items():
            words = np.array(each.values)[each.codes] if isinstance(each, Texts) else each
            found[name].append(words)
    return {name: np.concatenate(each) for name, each in found.items()}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(50,), (50, 3)])
def test_rows_are_read_from_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], order: str
) -> None:
    values = np.arange(np.prod(shape), dtype=">i4").reshape(shape, order=order)  # type: ignore[call-overload]
    source = npy(tmp_path / "a.npy", values)
    assert source.columns["X"].dtype == np.int32 and source.columns["X"].dtype.isnative
    assert_array_equal(source.read("X", 7, 19), values[7:19])
    monkeypatch.setattr("ooc.conversion.arrays.PIECE_BYTES", 100)
    assert_array_equal(read(source, ["X"])["X"], values)
    assert_array_equal(read(source, ["X"], 24)["X"], values[24:])
    rows = 100 // (4 * (3 if len(shape) > 1 else 1))
    assert [piece.first for piece in source.pieces(["X"], None)] == list(range(0, 50, rows))
    assert source.piece_bytes(["X"]) == 2 * rows * values[0].nbytes


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_members_are_read_together_from_any_piece_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Any
) -> None:
    monkeypatch.setattr("ooc.conversion.arrays.PIECE_BYTES", 300)
    arrays = {
        "m": np.arange(40 * 6, dtype=np.int16).reshape(40, 2, 3),
        "t": np.arange(40).astype("M8[D]"),
        "w": np.array([f"w{i % 5}" for i in range(40)]),
    }
    source = npz(tmp_path / "a.npz", save, **arrays)
    expected = {**arrays, "t": np.arange(40)}
    names = list(arrays)
    for name, values in read(source, names).items():
        assert_array_equal(values, expected[name])
    rows = 300 // (12 + 8 + 24)
    for name, values in read(source, names, 2 * rows).items():
        assert_array_equal(values, expected[name][2 * rows :])
    # Two bytes a character and more: what is read of texts is not what their codes take.
    assert source.piece_bytes(names) == 2 * rows * (12 + 8 + 2 * 4)
    piece = next(source.pieces(names, 2 * rows))
    assert piece.place(1) == f"row {2 * rows + 1} of {tmp_path}/a.npz"


def test_packed_and_plain_members_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.conversion.arrays.PIECE_BYTES", 100)
    values = {"plain": np.arange(30.0), "packed": np.arange(30.0) ** 2}
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, method in (("plain", zipfile.ZIP_STORED), ("packed", zipfile.ZIP_DEFLATED)):
            content = io.BytesIO()
            np.save(content, values[name])
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = method
            info.extra = b"\x99\x99\x04\x00abcd"
            archive.writestr(info, content.getvalue())
        archive.writestr("notes.txt", "x")
        archive.writestr("odd.npy", "x")
    source = open_npz(tmp_path / "a.npz", Opening())
    assert source.skipped["notes.txt"] == "it is no .npy file"
    assert source.skipped["odd"].startswith(f"odd.npy of {tmp_path}/a.npz is no NPY file: ")
    assert source.skipped["odd"].endswith("; write it with numpy.save")
    found = read(source, ["packed", "plain"], 12)
    for name in values:
        assert_array_equal(found[name], values[name][12:])


def test_fields_of_a_structure_are_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros(40, [("u", ">f4"), ("m", "i2", (2,)), ("w", "U2"), ("z", "c8")])
    values["u"], values["m"], values["w"] = np.arange(40), [[3, 4]], "ab"
    source = npy(tmp_path / "a.npy", values)
    assert source.is_table
    assert {name: each.shape for name, each in source.columns.items()} == {
        "u": (), "m": (2,), "w": (),
    }  # fmt: skip
    assert source.skipped == {"z": "its dtype complex64 is no real number, text or time"}
    # All fields of a row are read, whichever are wanted: 4 + 4 + 8 + 8 bytes.
    monkeypatch.setattr("ooc.conversion.arrays.PIECE_BYTES", 240)
    assert source.piece_rows(["u"]) == 60 * 4 // 24
    assert source.piece_bytes(["u"]) == 2 * 10 * 24
    found = read(source, ["m", "u"], 20)
    assert_array_equal(found["u"], np.arange(20, 40))
    assert_array_equal(found["m"], values["m"][20:])
    assert not npy(tmp_path / "b.npy", np.zeros((3, 2))).is_table


def refused(path: Path, opens: Any = open_npy) -> str:
    with pytest.raises(InputError) as caught:
        opens(path, Opening())
    return str(caught.value)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"nothing of the kind")
    assert refused(path).startswith(f"{path} is no NPY file: ")
    np.save(path, np.array([{}]))
    assert refused(path) == (
        f"{path} holds Python objects as a pickle, which runs code of whoever wrote it and is "
        "never read; save it with a dtype of numbers or of texts (astype(str))"
    )
    np.save(path, np.zeros(10))
    path.write_bytes(path.read_bytes()[:-1])
    assert refused(path) == (
        f"{path} has 207 bytes, but its header tells of 208: it was cut off; write it again"
    )
    path.write_bytes(b"PK\x03\x04 and no more")
    told = refused(path, open_npz)
    assert told.startswith(f"{path} is no whole NPZ archive (") and told.endswith(
        "; write it again"
    )
    np.save(path, np.zeros((4, 3, 2)).T)
    assert open_npy(path, Opening()).skipped == {
        "X": "its shape (2, 3, 4) is stored by columns (Fortran's order); save it with "
        "numpy.ascontiguousarray"
    }


def test_a_file_that_was_cut_off_since_is_told(tmp_path: Path) -> None:
    source = npy(tmp_path / "a.npy", np.arange(50.0))
    with (tmp_path / "a.npy").open("r+b") as stream:
        stream.truncate(128 + 8 * 20)
    assert_array_equal(source.read("X", 10, 20), np.arange(10.0, 20))
    with pytest.raises(DataError) as caught:
        source.read("X", 15, 25)
    assert str(caught.value) == f"{tmp_path}/a.npy ends at byte 288: it was cut off"


def test_an_archive_that_does_not_unpack_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    drawn = np.random.default_rng(0).standard_normal(2000)
    source = npz(path, np.savez_compressed, x=drawn)
    content = bytearray(path.read_bytes())
    content[9000:9100] = b"\xff" * 100
    path.write_bytes(content)
    with pytest.raises((DataError, zipfile.BadZipFile, Exception)) as caught:
        read(source, ["x"])
    assert str(caught.value).startswith(f"x of {path} cannot be unpacked: ")
