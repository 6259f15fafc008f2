"""Parquet: types as they are, keys of folders, pieces from any place on, and errors by file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from ooc.conversion.arrow_values import column_of, values_of
from ooc.conversion.formats import Opening
from ooc.conversion.parquet import ParquetSource, open_parquet
from ooc.conversion.source import Column, Piece, Texts
from ooc.core.errors import DataError, InputError

NO_TIME = np.iinfo(np.int64).min


def opened(path: Path) -> ParquetSource:
    return open_parquet(path, Opening())


def written(path: Path, columns: Mapping[str, Any], **options: Any) -> ParquetSource:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path, **options)
    return opened(path)


def whole(source: ParquetSource, name: str) -> np.ndarray:
    """Return a column, texts as objects."""
    found = [piece.read()[name] for piece in source.pieces([name], None)]
    return np.concatenate([plain(each) for each in found])


def plain(values: np.ndarray | Texts) -> np.ndarray:
    if not isinstance(values, Texts):
        return values
    assert values.codes.dtype == np.int32
    return np.array([*values.values, None], object)[values.codes]


# Of each type: the array, its kind, dtype, whether it may lack, what it was, and its values.
TYPES: dict[str, tuple[Any, str, str, bool, str, list[Any]]] = {
    "int8": (pa.array([1, -2], pa.int8()), "number", "i1", False, "", [1, -2]),
    "uint32": (pa.array([1, 2**32 - 1], pa.uint32()), "number", "u4", False, "", [1, 2**32 - 1]),
    "int64": (pa.array([1, 2**60 + 1]), "number", "i8", False, "", [1, 2**60 + 1]),
    "int16 with nulls": (pa.array([1, None], pa.int16()), "number", "f4", True, "int16",
                         [1, np.nan]),
    "int32 with nulls": (pa.array([2**31 - 1, None], pa.int32()), "number", "f8", True, "int32",
                         [2**31 - 1, np.nan]),
    "bool": (pa.array([True, False]), "number", "?", False, "", [1, 0]),
    "bool with nulls": (pa.array([True, None]), "number", "f4", True, "bool", [1, np.nan]),
    "float16": (pa.array(np.array([1.5, 2], "f2")), "number", "f2", True, "", [1.5, 2]),
    "float64 with nulls": (pa.array([1.5, None]), "number", "f8", True, "", [1.5, np.nan]),
    "decimal": (pa.array(["1.25", None]).cast(pa.decimal128(5, 2)), "number", "f8", True,
                "decimal128(5, 2)", [1.25, np.nan]),
    "date32": (pa.array([7, None], pa.date32()), "time", "i8", True, "date32[day]", [7, NO_TIME]),
    "timestamp": (pa.array([7, None], pa.timestamp("us")), "time", "i8", True, "timestamp[us]",
                  [7, NO_TIME]),
    "duration": (pa.array([7, 9], pa.duration("ms")), "number", "i8", False, "duration[ms]",
                 [7, 9]),
    "duration with nulls": (pa.array([7, None], pa.duration("s")), "number", "f8", True,
                            "duration[s]", [7, np.nan]),
    "time32": (pa.array([7, 9], pa.time32("ms")), "number", "i8", False, "time32[ms]", [7, 9]),
    "time64": (pa.array([7, 9], pa.time64("us")), "number", "i8", False, "time64[us]", [7, 9]),
    "string": (pa.array(["b", "a"]), "text", "i4", False, "string", ["b", "a"]),
    "large string": (pa.array(["b", None], pa.large_string()), "text", "i4", True, "large_string",
                     ["b", None]),
    "dictionary": (pa.array(["b", None, "b"]).dictionary_encode(), "text", "i4", True, "string",
                   ["b", None, "b"]),
    "dictionary of numbers": (pa.array([5, 3, 5]).dictionary_encode(), "number", "i8", False, "",
                              [5, 3, 5]),
    "lists": (pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2, 3, 4], pa.float32()), 2),
              "number", "f4", True, "", [[1, 2], [3, 4]]),
    "lists with nulls": (pa.array([[1.0, 2], None, [3, 4]], pa.list_(pa.float32(), 2)), "number",
                         "f4", True, "", [[1, 2], [np.nan, np.nan], [3, 4]]),
}  # fmt: skip


@pytest.mark.parametrize("case", TYPES)
def test_a_type_is_what_it_means(tmp_path: Path, case: str) -> None:
    array, kind, dtype, lacks, was, expected = TYPES[case]
    source = written(tmp_path / "a.parquet", {"c": array})
    column = source.columns["c"]
    assert (column.kind, column.dtype, column.may_lack, column.was) == (
        kind, np.dtype(dtype), lacks, was,
    )  # fmt: skip
    values = whole(source, "c")
    assert values.tolist() == expected or kind != "text"
    if kind != "text":
        assert_array_equal(values, expected)
        assert values.shape[1:] == column.shape
        if kind == "number" and dtype not in "?":
            assert values.dtype == dtype
    assert source.rows == len(array)


def test_days_in_milliseconds_are_times() -> None:
    column = column_of("d", pa.date64(), False)
    assert isinstance(column, Column)
    assert column.attributes["units"] == "milliseconds since 1970-01-01"
    assert_array_equal(
        values_of(column, pa.array([86400000, None], pa.date64())), [86400000, NO_TIME]
    )


def test_what_is_noted_of_times(tmp_path: Path) -> None:
    zoned = pa.array([1], pa.timestamp("ms", "Asia/Tokyo"))
    source = written(tmp_path / "a.parquet", {"t": zoned, "d": pa.array([1], pa.duration("us"))})
    assert source.columns["t"].attributes == {
        "units": "milliseconds since 1970-01-01",
        "calendar": "proleptic_gregorian",
        "time_zone": "Asia/Tokyo",
    }
    assert source.columns["d"].attributes == {"units": "us"}


def test_what_is_skipped_is_told(tmp_path: Path) -> None:
    source = written(
        tmp_path / "a.parquet",
        {"n": pa.nulls(2), "w": pa.array([["x"], ["y"]]), "b": pa.array([b"x", b"y"]),
         "a": pa.array([1, 2])},
    )  # fmt: skip
    assert source.skipped["n"] == "it holds no value at all"
    assert source.skipped["w"].startswith("its type list<")
    assert source.skipped["w"].endswith("> is no number, text or time")
    assert source.skipped["b"] == "its type binary is no number, text or time"
    # Columns of columns have no count of nulls of their own: some may lack.
    assert list(source.columns) == ["a"]


def test_nulls_are_counted_by_the_file_in_all_groups(tmp_path: Path) -> None:
    values = pa.array([1, 2, 3, None])
    assert written(tmp_path / "a.parquet", {"c": values}, row_group_size=2).columns["c"].may_lack
    known = {"row_group_size": 2, "write_statistics": False}
    assert written(tmp_path / "b.parquet", {"c": pa.array([1, 2])}, **known).columns["c"].may_lack
    for name, each in (("x", [1, 2]), ("y", [1, None])):
        pq.write_table(pa.table({"c": pa.array(each)}), tmp_path / f"{name}.parquet")
    many = tmp_path / "many"
    many.mkdir()
    for name in "xy":
        (tmp_path / f"{name}.parquet").rename(many / f"{name}.parquet")
    assert opened(many).columns["c"].may_lack


def test_columns_of_columns_have_counts_of_their_own(tmp_path: Path) -> None:
    pairs = pa.array([{"x": 1, "y": 2}, {"x": 3, "y": 4}])
    source = written(tmp_path / "a.parquet", {"s": pairs, "a": pa.array([1, None])})
    assert source.columns["a"].may_lack


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ParquetSource:
    """60 rows in two files of three groups each, read some rows at a time."""
    monkeypatch.setattr("ooc.conversion.parquet.BATCH_BYTES", 32)
    monkeypatch.setattr("ooc.conversion.parquet.FEWEST_ROWS", 4)
    for year in (2020, 2021):
        for part, half in enumerate("ab"):
            first = 30 * (year - 2020) + 15 * part
            folder = tmp_path / "parts" / f"year={year}" / f"half={half}"
            row = np.arange(first, first + 15)
            written(folder / "0.parquet", {"row": row, "even": row % 2 == 0}, row_group_size=6)
    return opened(tmp_path / "parts")


def test_folders_are_columns_and_pieces_begin_anywhere(parts: ParquetSource) -> None:
    names = ["row", "year", "half"]
    assert {name: (each.kind, each.was) for name, each in parts.columns.items()} == {
        "row": ("number", ""), "even": ("number", ""), "year": ("number", "a folder's name"),
        "half": ("text", "a folder's name"),
    }  # fmt: skip
    assert parts.rows == 60
    # 32 bytes are less than four rows.
    assert parts.piece_bytes(["row"]) == 2 * 4 * 8
    pieces = list(parts.pieces(names, None))
    lengths = [4, 2, 4, 2, 3] * 4
    assert [len(piece.read()["row"]) for piece in pieces] == lengths  # type: ignore[arg-type]
    assert [piece.first for piece in pieces] == [0, *np.cumsum(lengths)[:-1].tolist()]

    def rows(some: list[Piece]) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        for piece in some:
            read = piece.read()
            assert set(read) == set(names)
            found += zip(*(plain(read[name]).tolist() for name in names), strict=True)
        return found

    expected = [(i, 2020 + i // 30, "ab"[i // 15 % 2]) for i in range(60)]
    assert rows(pieces) == expected
    for place, piece in enumerate(pieces):
        rest = list(parts.pieces(names, piece.position))
        assert [each.position for each in rest] == [each.position for each in pieces[place:]]
        assert [each.first for each in rest] == [each.first for each in pieces[place:]]
        assert rows(rest) == expected[piece.first :]
    assert pieces[11].place(1) == f"row 5 of {parts.path}/year=2021/half=a/0.parquet"
    assert pieces[4].place(3) == f"row 0 of {parts.path}/year=2020/half=b/0.parquet"
    assert len(parts.stamp()) == 4


def test_pieces_are_as_large_as_is_wanted(
    parts: ParquetSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.conversion.parquet.BATCH_BYTES", 45)
    assert parts.piece_bytes(["row", "even"]) == 2 * 5 * 9


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        opened(path)
    return str(caught.value)


def test_files_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    written(first, {"x": pa.array([1]), "y": pa.array([1])})
    pq.write_table(pa.table({"x": pa.array([1])}), second)
    assert refused(tmp_path) == (
        f"{second} has no column 'y', which {first} has; give them the same columns, or convert "
        "them apart"
    )
    pq.write_table(pa.table({"x": pa.array([1.5]), "y": pa.array([1])}), second)
    assert refused(tmp_path) == (
        f"column x is double in {second}, but int64 in {first}; write them with one type, or "
        "convert them apart"
    )
    second.unlink()
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), first)
    assert refused(first) == f"{first} has no rows; there is nothing to convert"


def test_a_group_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    values = np.random.default_rng(0).integers(0, 2**60, 2000)
    written(path, {"x": values}, row_group_size=1000, compression="zstd", use_dictionary=False)
    content, metadata = bytearray(path.read_bytes()), pq.read_metadata(path)
    start = metadata.row_group(1).column(0).data_page_offset
    content[start : start + 60] = b"\xff" * 60
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^row group 1 of {path} cannot be read: .*; restore the"):
        list(opened(path).pieces(["x"], None))


def test_batches_of_long_texts_have_fewer_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.conversion.parquet.BATCH_BYTES", 2**19)
    monkeypatch.setattr("ooc.conversion.parquet.FEWEST_ROWS", 7)
    texts = pa.table({"t": [f"{i:0400d}" for i in range(3000)]})
    pq.write_table(texts, tmp_path / "a.parquet", use_dictionary=False)
    source = open_parquet(tmp_path / "a.parquet", Opening())
    for piece in source.pieces(["t"], None):
        found = piece.read()["t"]
        assert isinstance(found, Texts)
        assert 0 < sum(map(len, found.values)) <= 2**19
        assert len(found.codes) * 400 > 2**18 or piece.first + len(found.codes) == 3000
