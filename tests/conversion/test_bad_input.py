"""Bad input is one line: file, line or column, and what to do; nothing that looks whole is left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from conversions import MEMORY, people
from pairs import few
from PIL import Image

import ooc
from ooc.core.errors import InputError

Write = Callable[[Path], object]


def lines(*given: str) -> Write:
    return lambda path: path.write_text("".join(f"{line}\n" for line in given))


def twice(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), path)


def images(*sizes: int) -> Write:
    def write(path: Path) -> None:
        (path / "cats").mkdir(parents=True)
        for number, size in enumerate(sizes):
            file = path / "cats" / f"{number}.png"
            Image.fromarray(np.zeros((size, 5), np.uint8)).save(file)
            if not size - 9:
                file.write_bytes(file.read_bytes()[:40])

    return write


def cut_off(path: Path) -> None:
    np.save(path, np.zeros((100, 5)))
    path.write_bytes(path.read_bytes()[:-8])


def thin(path: Path) -> None:
    import anndata
    from scipy.sparse import random as random_rows

    anndata.AnnData(random_rows(500, 500, 0.01, format="csr")).write_h5ad(path)


def two_lengths(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = np.zeros((5, 2)), np.zeros(4)


NUMBERS = [f"{i},{i}" for i in range(500)]
CASES: dict[str, tuple[str, Write, dict[str, Any], str]] = {
    "ragged": (
        "a.csv", lines("a,b", *NUMBERS, "", "1,2,3"), {},
        r"^line 503 of .*a\.csv has 3 fields, but there are 2 columns; correct the line",
    ),
    "text among numbers": (
        "a.csv", lines("a,b", *NUMBERS, "1,two"), {},
        r"^line 502 of .*a\.csv, column b: 'two' is no number, .* --without",
    ),
    "text as a feature": (
        "a.csv", lines("a,b", "1,x", "2,y"), {"columns": ["a", "b"]},
        r"^column b of .*a\.csv holds text, which is no feature; leave it out of .*--columns",
    ),
    "two columns of a name": (
        "a.csv", lines("a,b,a", "1,2,3"), {},
        r"^.*a\.csv has two columns named 'a', numbers 1 and 3; rename",
    ),
    "two columns of a name, parquet": (
        "a.parquet", twice, {}, r"two columns named 'a', numbers 1 and 2; rename",
    ),
    "no such column": (
        "a.csv", lines("age,b", "1,2"), {"columns": ["agee"]},
        r"a\.csv has no column 'agee'; it has.*: age",
    ),
    "no number as a whole target": (
        "a.csv", lines("a,y", *NUMBERS, "1,2.5"), {},
        r"^line 502 of .*column y holds 2\.5, which int64 cannot hold; .*correct it",
    ),
    "a type that is too small": (
        "a.npy", lambda path: np.save(path, np.array([[1], [300]])), {"dtype": "uint8"},
        r"^row 1 of .*a\.npy: column X holds 300, which uint8 cannot hold; give a --dtype",
    ),
    "an unknown suffix": (
        "a.xlsx", lines("a"), {}, r"a\.xlsx has the suffix '\.xlsx', which is none of \.parquet",
    ),
    "an image that does not decode": (
        "pets", images(7, 7, 9), {}, r"^.*cats/2\.png cannot be decoded: .*; restore it, or remove",
    ),
    "images of two sizes": (
        "pets", images(7, 8), {},
        r"^.*1\.png has 8 x 5 pixels, not the 7 x 5 of .*0\.png; .* --image-size 7x5",
    ),
    "index 0": (
        "a.svm", lines("1 1:2 2:1", "0 0:1 1:1"), {},
        r"^line 2 of .*a\.svm has the index 0, but indices begin at 1; .* --zero-based",
    ),
    "unsorted indices": (
        "a.svm", lines("1 1:2 2:1", "0 2:1 1:1"), {},
        r"^line 2 of .*a\.svm has the index 1 after 2; .* sort them",
    ),
    "no svmlight": (
        "a.svm", lines("1 1:2", "0 1:x"), {}, r"^line 2 of .*a\.svm is no label and pairs like",
    ),
    "a pickle": (
        "a.npy", lambda path: np.save(path, np.array([{}, None])), {},
        r"a\.npy holds Python objects as a pickle, .* is never read",
    ),
    "cut off": ("a.npy", cut_off, {}, r"a\.npy has 4,120 bytes, .* tells of 4,128: it was cut off"),
    "no parquet": ("a.parquet", lines("x"), {}, r"a\.parquet cannot be read as Parquet: .*restore"),
    "no HDF5": ("a.h5", lines("x"), {}, r"a\.h5 cannot be read as HDF5: .*check the file"),
    "no netcdf": ("a.nc", lines("x"), {}, r"a\.nc cannot be read as NetCDF: .*check the file"),
    "an empty file": ("a.csv", lambda path: path.touch(), {}, r"a\.csv is empty"),
    "two lengths": (
        "a.h5", two_lengths, {"columns": ["a"], "target": "b"},
        r"differ along axis 0: a has 5 rows, b has 4; name others",
    ),
    "sparse and shuffled": (
        "a.h5ad", thin, {"shuffle": True},
        r"--shuffle cannot put sparse rows in another order yet, as those of X in .*--dense",
    ),
    "a small budget": (
        "a.csv", lines("a", "1"), {"memory": "64MiB"}, r"64\.0 MiB is below the .*raise the memory",
    ),
    "too many texts": (
        "a.csv", lambda path: pd.DataFrame({"t": [f"t{i}" for i in range(70_000)]}).to_csv(
            path, index=False), {},
        r"column t holds text, of which [\d,]+ are different .*--without t",
    ),
}  # fmt: skip
DEAR = {
    "index 0",
    "unsorted indices",
    "no svmlight",
    "no netcdf",
    "sparse and shuffled",
    "too many texts",
}
CHEAP = [name for name in CASES if name not in DEAR]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", few(CASES, CHEAP))
def test_it_is_refused_in_one_line_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "no number as a whole target":
        monkeypatch.setattr("ooc.conversion.csv_text.BLOCK_BYTES", 2**10)
    file, write, options, message = CASES[name]
    write(tmp_path / file)
    with pytest.raises(InputError, match=message) as caught:
        ooc.convert(
            tmp_path / file, tmp_path / "new.zarr", **{"memory": MEMORY, "report": False, **options}
        )
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize(
    ("file", "package", "extra"),
    [("a.parquet", "pyarrow", "parquet"), ("a.h5", "h5py", "hdf5"), ("a.nc", "xarray", "netcdf")],
)
def test_a_package_that_is_not_there_is_told_with_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, package: str, extra: str
) -> None:
    (tmp_path / file).touch()
    monkeypatch.setattr("ooc.conversion.formats.find_spec", lambda name: None)
    said = rf"is read by {package}, which is not installed; pip install 'ooc\[{extra}\]' brings it$"
    with pytest.raises(InputError, match=said):
        ooc.convert(tmp_path / file, tmp_path / "new.zarr", report=False)


def test_destinations_that_cannot_be(tmp_path: Path) -> None:
    people(5).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="already exists"):
        ooc.convert(tmp_path / "a.csv", tmp_path / "there")
    with pytest.raises(InputError, match="lies inside the source"):
        ooc.convert(tmp_path, tmp_path / "new.zarr", format="csv", report=False)
    with pytest.raises(InputError, match="is on a web server, which is but read from"):
        ooc.convert(tmp_path / "a.csv", "https://host/new.zarr")
