"""What sources share: stamps of files, names, texts as codes."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ooc.conversion.formats import FORMATS, Opening, files_of, open_source, suffix_of
from ooc.conversion.source import check_no_duplicates, stamp_of, texts_of, time_column
from ooc.core.errors import InputError


def test_a_stamp_changes_with_name_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first, second = tmp_path / "a", tmp_path / "b" / "c"
    first.write_bytes(b"123")
    second.write_bytes(b"12345")
    for place, file in enumerate((first, second)):
        os.utime(file, ns=(7, 10**18 + place))
    assert stamp_of([first, second], tmp_path) == [["a", 3, 10**18], ["b/c", 5, 10**18 + 1]]
    assert stamp_of([first], first) == [["a", 3, 10**18]]


@pytest.mark.parametrize(
    ("values", "codes", "known"),
    [
        (["b", None, "a", "b"], [0, -1, 1, 0], ["b", "a"]),
        ([b"\xc3\xbc", b"\xff"], [0, 1], ["ü", "\ufffd"]),
        ([np.nan, "", 3], [-1, 0, 1], ["", "3"]),
    ],
)
def test_texts_become_codes_by_first_appearance(
    values: list[Any], codes: list[int], known: list[str]
) -> None:
    found = texts_of(np.array(values, object))
    assert (found.codes.tolist(), found.values, found.codes.dtype) == (codes, known, np.int32)


def test_what_is_noted_of_times_goes_with_their_unit() -> None:
    column = time_column("t", "ms", was="x", attributes={"time_zone": "UTC"})
    assert column.attributes == {
        "units": "milliseconds since 1970-01-01",
        "calendar": "proleptic_gregorian",
        "time_zone": "UTC",
    }
    assert (column.was, column.may_lack, column.dtype) == ("x", True, np.int64)


def test_a_column_that_is_there_twice_is_named_by_its_numbers() -> None:
    check_no_duplicates(Path("a"), ["x", "y"])
    with pytest.raises(InputError) as caught:
        check_no_duplicates(Path("a"), ["x", "y", "z", "y"])
    assert str(caught.value) == (
        "a has two columns named 'y', numbers 2 and 4; rename one of them in the source"
    )


def test_files_of_a_folder_are_sorted_and_hidden_ones_left_out(tmp_path: Path) -> None:
    names = ["b.csv", "a/c.TSV", "a/b.csv.gz", "c.txt", ".d.csv", "_e/f.csv", "g/.h.csv", "csv"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.csv").mkdir()
    found = [str(each.relative_to(tmp_path)) for each in files_of(tmp_path, (".csv", ".tsv"))]
    assert found == ["a/b.csv.gz", "a/c.TSV", "b.csv"]
    assert files_of(tmp_path / "c.txt", (".csv",)) == [tmp_path / "c.txt"]
    assert suffix_of(Path("a.tar.gz.gz")) == ".tar" and suffix_of(Path("a")) == ""


def test_a_folder_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    np.save(tmp_path / "x" / "a.npy", np.zeros(3))
    with pytest.raises(InputError) as caught:
        open_source(tmp_path / "x", None, Opening())
    assert str(caught.value) == (
        f"{tmp_path}/x is a folder of nothing that is known: no Zarr group, no Parquet or CSV "
        "files, no images in one subfolder a class; name the format with format= (--format)"
    )
    for name in ("parquet", "csv"):
        with pytest.raises(InputError) as caught:
            open_source(tmp_path / "x", name, Opening())
        assert str(caught.value) == (
            f"{tmp_path}/x holds no .{name} file; name the file or the folder of them"
        )
    (tmp_path / "x" / "b.csv").write_text("a\n1\n")
    assert open_source(tmp_path / "x", None, Opening())[1] == "csv"
    with pytest.raises(InputError, match=r"no format is called 'xml'; choose one of: parquet, "):
        open_source(tmp_path / "x", "xml", Opening())
    with pytest.raises(InputError) as caught:
        open_source(tmp_path / "nothing", None, Opening())
    assert str(caught.value) == f"{tmp_path}/nothing does not exist; check the path"


@pytest.mark.parametrize(("name", "shown"), [("a.xlsx", "'.xlsx'"), ("a", "'of nothing'")])
def test_a_suffix_that_nobody_knows(tmp_path: Path, name: str, shown: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        open_source(tmp_path / name, None, Opening())
    assert str(caught.value) == (
        f"{tmp_path / name} has the suffix {shown}, which is none of .parquet, .pq, .csv, .tsv, "
        ".npy, .npz, .h5, .hdf5, .hdf, .nc, .nc4, .cdf, .svm, .svmlight, .libsvm, .h5ad, .zarr, "
        ".zip; rename it, or name its format with format= (--format)"
    )


KNOWN = {
    "parquet": ".parquet .pq", "csv": ".csv .tsv .csv.gz .CSV .tsv.gz", "npy": ".npy",
    "npz": ".npz", "hdf5": ".h5 .hdf5 .hdf", "netcdf": ".nc .nc4 .cdf",
    "svmlight": ".svm .svmlight .libsvm", "h5ad": ".h5ad", "zarr": ".zip .zarr",
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_a_file_is_known_by_its_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    opening, asked = Opening(dense=True), list[Any]()
    monkeypatch.setattr("ooc.conversion.formats.find_spec", lambda package: package)
    monkeypatch.setattr(
        "ooc.conversion.formats.resolve_name",
        lambda opens: lambda path, options: asked.append((opens, path, options)),
    )
    for suffix in KNOWN[name].split():
        (tmp_path / f"a{suffix}").touch()
        assert open_source(tmp_path / f"a{suffix}", None, opening) == (None, name)
        assert asked.pop() == (FORMATS[name].opens, tmp_path / f"a{suffix}", opening)
