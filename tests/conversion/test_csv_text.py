"""CSV: of any dialect the same table, in pieces that begin where lines do, and errors by line."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ooc.conversion.csv_text import CsvSource, open_csv
from ooc.conversion.formats import Opening
from ooc.conversion.source import Piece, Texts
from ooc.core.errors import DataError, InputError

ROWS: list[list[str]] = [
    [str(i), "" if i % 7 == 3 else str(i / 8), ["Rome", 'the "b",\nc', "ü;|\t"][i % 3]]
    for i in range(60)
]


def written(path: Path, rows: list[list[str]], start: str = "", **dialect: Any) -> Path:
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows([["a", "b", "c"], *rows])
    content = (start + text.getvalue()).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def opened(path: Path) -> CsvSource:
    return open_csv(path, Opening())


def rows_of(source: CsvSource, pieces: list[Piece]) -> list[tuple[Any, ...]]:
    """Return the rows of pieces, texts as texts and None for what is missing."""
    found: list[tuple[Any, ...]] = []
    for piece in pieces:
        columns = []
        for values in piece.read().values():
            if isinstance(values, Texts):
                columns.append([None if c < 0 else values.values[c] for c in values.codes])
            else:
                columns.append([None if value != value else value for value in values.tolist()])
        found += zip(*columns, strict=True)
    return found


EXPECTED = [(float(a), float(b) if b else None, c) for a, b, c in ROWS]


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("name", "start", "dialect"),
    [
        ("a.csv", "", {}),
        ("a.csv", "\ufeff", {"lineterminator": "\n"}),
        ("a.tsv", "", {"delimiter": "\t"}),
        ("a.csv", "", {"delimiter": ";", "quoting": csv.QUOTE_ALL}),
        ("a.csv", "\ufeff", {"delimiter": "|", "quoting": csv.QUOTE_ALL}),
        ("a.csv.gz", "", {}),
    ],
)
def test_of_any_dialect_it_is_the_same_table_from_any_piece_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, start: str, dialect: dict[str, Any]
) -> None:
    monkeypatch.setattr("ooc.conversion.csv_text.BLOCK_BYTES", 128)
    path = written(tmp_path / name, ROWS, start, **dialect)
    source = opened(path)
    pieces = list(source.pieces(["a", "b", "c"], None))
    assert len(pieces) > 5
    assert rows_of(source, pieces) == EXPECTED
    for place in (1, 3, len(pieces) - 1):
        rest = list(source.pieces(["a", "b", "c"], pieces[place].position))
        assert rest[0].position == pieces[place].position
        assert rows_of(source, rest) == rows_of(source, pieces[place:])
        # The same lines are told, too: the header is line 1, and a text may have two.
        before = len(rows_of(source, pieces[:place]))
        lines = 2 + sum(1 + row[2].count("\n") for row in ROWS[:before])
        assert rest[0].place(0) == pieces[place].place(0) == f"line {lines} of {path}"


def test_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    for number in range(3):
        written(tmp_path / f"{number}.csv", ROWS[20 * number : 20 * number + 20])
    source = opened(tmp_path)
    pieces = list(source.pieces(["a", "b", "c"], None))
    assert rows_of(source, pieces) == EXPECTED
    assert [piece.position[0] for piece in pieces] == [0, 1, 2]
    assert pieces[2].place(1) == f"line 4 of {tmp_path}/2.csv"
    assert rows_of(source, list(source.pieces(["a"], pieces[1].position))) == [
        (a,) for a, *_ in EXPECTED[20:]
    ]
    assert len(source.stamp()) == 3


def test_numbers_without_a_header_are_rows_and_their_columns_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2.5\n\n3,-1e3\n")
    (tmp_path / "b.csv").write_text("5,6\n")
    source = opened(tmp_path)
    assert list(source.columns) == ["x0", "x1"]
    pieces = list(source.pieces(["x0", "x1"], None))
    assert rows_of(source, pieces) == [(1, 2.5), (3, -1000), (5, 6)]
    # A line that is empty is none of the rows.
    assert pieces[0].place(1) == f"line 3 of {tmp_path}/a.csv"


def test_a_column_is_what_its_first_values_are(tmp_path: Path) -> None:
    lines = ["whole,real,word,day,nothing,mostly,few"]
    lines += [f"{i},{i}.5,w{i},2024-01-0{i},,{i},{i}" for i in range(1, 9)]
    lines += ["NA,?,null,,,9,x", "9,nan,N/A,2024-01-09,,x,x"]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError) as caught:
        rows_of(
            opened(tmp_path / "a.csv"), list(opened(tmp_path / "a.csv").pieces(["mostly"], None))
        )
    assert str(caught.value) == (
        f"line 11 of {tmp_path}/a.csv, column mostly: 'x' is no number, as the values before; "
        "correct it, or leave the column out with --without"
    )
    source = opened(tmp_path / "a.csv")
    told = {name: (each.kind, each.whole) for name, each in source.columns.items()}
    assert told == {
        "whole": ("number", True), "real": ("number", False), "word": ("text", False),
        "day": ("time", False), "nothing": ("number", False), "mostly": ("number", False),
        # Of ten values, eight are no longer mostly.
        "few": ("text", False),
    }  # fmt: skip
    found = rows_of(source, list(source.pieces(["whole", "real", "word"], None)))
    assert found[7:] == [(8, 8.5, "w8"), (None, None, None), (9, None, None)]
    assert source.columns["whole"].dtype == np.float64 and source.columns["whole"].may_lack


def test_a_header_may_have_a_number_for_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("2020,a\n1,2\n")
    source = opened(tmp_path / "a.csv")
    assert rows_of(source, list(source.pieces(["2020", "a"], None))) == [(1, 2)]


def test_a_name_that_pandas_leaves_out_is_its_index(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(", b \n1,2\n")
    assert list(opened(tmp_path / "a.csv").columns) == ["index", "b"]


NO_NAME = "column {} of {{}}/a.csv has no name in line 1; give it one"
BAD: dict[str, tuple[dict[str, bytes], str]] = {
    "no name": ({"a.csv": b"a,,c\n1,2,3\n"}, NO_NAME.format(2)),
    "two without a name": ({"a.csv": b",b,\n1,2,3\n"}, NO_NAME.format(1)),
    "another header": (
        {"a.csv": b"a,b\n1,2\n", "b.csv": b"b,a\n1,2\n"},
        "the header of {}/b.csv is ['b', 'a'], that of {}/a.csv ['a', 'b']; give them the same "
        "columns, or convert them apart",
    ),
    "empty": ({"a.csv": b"\xef\xbb\xbf \n"}, "{}/a.csv is empty; there is nothing to convert"),
    "a header alone": (
        {"a.csv": b"a,b\n"}, "{}/a.csv has a header and no rows; there is nothing to convert",
    ),
    "Latin 1 from the start": (
        {"a.csv": b"a,b\n1,x\n2,\xe9\n"},
        "line 3 of {}/a.csv, column b: it is not UTF-8; save the file as UTF-8",
    ),
    "a second that is empty": (
        {"a.csv": b"a\n1\n", "b.csv": b""}, "{}/b.csv is empty; there is nothing to convert",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_table_is_refused(tmp_path: Path, case: str) -> None:
    files, message = BAD[case]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    assert str(caught.value) == message.replace("{}", str(tmp_path))


LATER: dict[str, tuple[bytes, str]] = {
    "too many fields": (
        b"\n1,2,u,3\n",
        "line 43 of {} has 4 fields, but there are 3 columns; correct the line, or quote a field "
        "that holds the delimiter",
    ),
    "a text": (
        b"3,4,u\n1,x,u\n",
        "line 43 of {}, column b: 'x' is no number, as the values before; correct it, or leave the "
        "column out with --without",
    ),
    "no UTF-8": (
        b"3,4,u\n3,4,\xff\n", "line 43 of {}, column c: it is not UTF-8; save the file as UTF-8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LATER)
def test_a_line_that_is_wrong_is_named_in_any_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr("ooc.conversion.csv_text.BLOCK_BYTES", 64)
    more, message = LATER[case]
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b,c\n" + b"1,2,u\n" * 40 + more)
    source = opened(path)
    with pytest.raises(DataError) as caught:
        rows_of(source, list(source.pieces(["a", "b", "c"], None)))
    assert str(caught.value) == message.format(path)


def test_a_quote_that_is_not_closed_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.conversion.csv_text.BLOCK_BYTES", 16)
    monkeypatch.setattr("ooc.conversion.csv_text.LONGEST_LINE", 64)
    (tmp_path / "a.csv").write_bytes(b'a,b\n1,2\n3,4\n5,"6\n' + b"7,8\n" * 40)
    source = opened(tmp_path / "a.csv")
    with pytest.raises(DataError) as caught:
        list(source.pieces(["a"], None))
    assert str(caught.value) == (
        f"{tmp_path}/a.csv has no end of a line in 72 bytes from byte 12 on: a quote may not be "
        "closed; close it"
    )


def test_a_quote_that_is_open_at_the_end_takes_no_lines_for_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'a,b\n1,"2\n3,4\n')
    with pytest.raises(DataError, match=r"a.csv ends inside of a quote, .* byte 4; close it"):
        opened(tmp_path / "a.csv")


def test_a_quote_inside_of_a_field_is_a_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'a,b\n1,x\n2,5"\n')
    source = opened(tmp_path / "a.csv")
    found = []
    for piece in source.pieces(["b"], None):
        texts = piece.read()["b"]
        assert isinstance(texts, Texts)
        found += [texts.values[code] for code in texts.codes]
    assert found == ["x", '5"']


def test_what_a_block_takes_is_told_by_its_first_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.conversion.csv_text.BLOCK_BYTES", 400)
    (tmp_path / "a.csv").write_text("a,b\n" + "100000,200000000000\n" * 30)
    source = opened(tmp_path / "a.csv")
    # Of lines of 20 bytes some may be half as long: 400 / 10 rows of 16 bytes, and text twice.
    assert source.piece_bytes(["a", "b"]) == 2 * 400 + 40 * 16
    assert source.piece_bytes(["a"]) == 2 * 400 + 40 * 8
    (tmp_path / "b.csv").write_text("a,b\n" + "1,2\n" * 99)
    assert opened(tmp_path / "b.csv").piece_bytes(["a"]) == 2 * 400 + 100 * 8


def test_values_are_those_that_python_reads(tmp_path: Path) -> None:
    drawn = np.random.default_rng(5).standard_normal(50) * np.geomspace(1e-300, 1e300, 50)
    (tmp_path / "a.csv").write_text("a\n" + "".join(f"{value!r}\n" for value in drawn.tolist()))
    source = opened(tmp_path / "a.csv")
    (piece,) = source.pieces(["a"], None)
    assert_array_equal(piece.read()["a"], drawn)
