"""svmlight's lines: sparse rows in blocks of lines, and the first line that is wrong."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_matrix

from ooc.conversion.formats import Opening
from ooc.conversion.sparse import SparseValues
from ooc.conversion.svmlight import Scan, SvmlightSource, open_svmlight, scan
from ooc.core.errors import DataError, InputError


def load(stream: Any, n_features: int, zero_based: bool, query_id: bool) -> tuple[Any, ...]:
    """Read lines as scikit-learn does, whose import takes seconds: one word after the other."""
    rows, labels, queries = [], [], []
    for line in stream.read().decode().split("\n"):
        words = line.partition("#")[0].split()
        if not words:
            continue
        labels.append(float(words[0]))
        row, last = np.zeros(n_features), -1
        for word in words[1:]:
            name, value = word.split(":")
            if name == "qid":
                queries.append(int(value))
                continue
            index = int(name) - (not zero_based)
            if index <= last:
                raise ValueError("indices are not in order")
            row[index], last = float(value), index
        rows.append(row)
    return csr_matrix(np.array(rows)), np.array(labels), *([np.array(queries)] if query_id else [])


@pytest.fixture(autouse=True)
def _scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = SimpleNamespace(load_svmlight_file=load)
    monkeypatch.setattr("ooc.conversion.svmlight.importing", lambda package: stand_in)


def opened(path: Path, text: str, **options: Any) -> SvmlightSource:
    path.write_text(text)
    return open_svmlight(path, Opening(**options))


def made(rows: int, first: int) -> tuple[str, np.ndarray]:
    """Return lines of 1 to 5 values, with comments and empty lines between, and their rows."""
    rng, lines, x = np.random.default_rng(2), [], np.zeros((rows, 6))
    for row in range(rows):
        places = np.sort(rng.choice(6, 1 + row % 5, replace=False))
        x[row, places] = rng.integers(1, 9, len(places)) / 4
        pairs = " ".join(f"{place + first}:{x[row, place]}" for place in places)
        lines.append(f"{row % 3 - 1} qid:{row // 4} {pairs}{' # 9:9' if row % 7 == 1 else ''}")
        lines += ["# nothing", ""] if row % 6 == 4 else []
    return "# of 6 features\n" + "\n".join(lines), x


@pytest.mark.parametrize("zero_based", [False, True])
def test_lines_become_rows_from_any_piece_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zero_based: bool
) -> None:
    monkeypatch.setattr("ooc.conversion.svmlight.PIECE_BYTES", 4 * 48)
    monkeypatch.setattr("ooc.conversion.svmlight.SCAN_BYTES", 256)
    text, x = made(50, 1 - zero_based)
    source = opened(tmp_path / "a.svm", text, zero_based=zero_based, dense=True)
    assert (source.rows, source.columns["X"].shape) == (50, (6,))
    names = ["X", "y", "qid"]
    pieces = list(source.pieces(names, None))
    assert len(pieces) > 10
    expected = {"X": x, "y": np.arange(50) % 3 - 1, "qid": np.arange(50) // 4}
    counts = np.cumsum([0, *(len(piece.read()["y"]) for piece in pieces)])  # type: ignore[arg-type]
    assert [piece.first for piece in pieces] == counts[:-1].tolist()
    # No more dense rows than were hoped for, whatever the length of lines.
    assert np.diff(counts).max() <= 4
    lines = text.split("\n")
    full = [n for n, line in enumerate(lines, 1) if line.partition("#")[0].strip()]
    for place in (0, 1, len(pieces) // 2, len(pieces) - 1):
        rest = list(source.pieces(names, pieces[place].position))
        first = int(counts[place])
        assert rest[0].first == first
        assert rest[0].position == pieces[place].position
        assert rest[0].place(0) == f"line {full[first]} of {tmp_path}/a.svm"
        for name in names:
            found = np.concatenate([piece.read()[name] for piece in rest])  # type: ignore[arg-type]
            assert_array_equal(found, expected[name][first:])
    assert set(pieces[0].read()) == set(names)
    assert set(next(source.pieces(["y"], None)).read()) == {"y"}


def test_labels_that_are_all_whole_are_known(tmp_path: Path) -> None:
    path = tmp_path / "a.svm"
    for text, whole in (
        ("1 1:2\n-1 2:3\n", True), ("+1 1:2\n 2 2:3", True), ("1#a\n2 1:1\n", True),
        ("1 1:2\n1.5 2:3\n", False), ("1 1:2\n1e3 1:1\n", False),
    ):  # fmt: skip
        source = opened(path, text)
        assert (source.columns["y"].whole, source.rows) == (whole, 2), text
        assert "qid" not in source.columns


def test_the_width_is_the_largest_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ooc.conversion.svmlight.SCAN_BYTES", 16)
    text = "1 1:2 7:1 # 9:1\n1 2:3 8:1e-3 \t\r\n" + "0 1:1\n" * 9
    assert opened(tmp_path / "a.svm", text).columns["X"].shape == (8,)
    source = opened(tmp_path / "a.svm", text, zero_based=True)
    assert source.columns["X"].shape == (9,)


def test_what_a_piece_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ooc.conversion.svmlight.PIECE_BYTES", 4 * 16)
    # Four rows of 16 bytes, as lines of 8: a block of 32 bytes, and the longest line behind it. Of
    # each four bytes there may be a value, of 2 x 16 and 12 bytes.
    text = "1 2:345\n" * 20
    source = opened(tmp_path / "a.svm", text, dense=True)
    assert source.piece_bytes(["X"]) == (32 + 8) + (32 + 8) // 4 * 44 + 3 * (4 * 16 + 16)
    monkeypatch.setattr("ooc.conversion.svmlight.SCAN_BYTES", 64)
    assert opened(tmp_path / "a.svm", text).piece_bytes(["X"]) == (64 + 8) + (64 + 8) // 4 * 44


def refused(path: Path, text: str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        for piece in opened(path, text, **options).pieces(["X", "y"], None):
            piece.read()
    return str(caught.value)


def test_the_first_line_that_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.conversion.svmlight.SCAN_BYTES", 32)
    path, good = tmp_path / "a.svm", "1 1:2 2:1 # x\n\n" * 5
    cases = {
        "1 0:2 2:1": "line 11 of {} has the index 0, but indices begin at 1; if they begin at 0, "
        "as scikit-learn writes them by default, give --zero-based",
        "1 2:1 2:3": "line 11 of {} has the index 2 twice; leave one of the two, or write their "
        "sum once",
        "1 2:1 1:3": "line 11 of {} has the index 1 after 2; indices of a line are to ascend: sort "
        "them",
        "1 1:x": "line 11 of {} is no label and pairs like '1 3:0.5 7:2', but '1 1:x'; correct it",
        "word 1:2": "line 11 of {} is no label and pairs like '1 3:0.5 7:2', but 'word 1:2'; "
        "correct it",
    }
    for line, message in cases.items():
        assert refused(path, f"{good}{line}\n{good}") == message.format(path)
    assert refused(path, f"{good}1 -1:2 1:3\n", zero_based=True) == (
        f"line 11 of {path} has the index -1, but indices begin at 0; correct it"
    )
    nothing = f"{path} has no line like '1 3:0.5 7:2'; there is nothing to convert"
    assert refused(path, "") == refused(path, "# only\n") == refused(path, "1\n2\n") == nothing


def test_what_no_line_explains_is_told_in_the_parsers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*parts: Any, **more: Any) -> None:
        raise ValueError("it is a riddle")

    source = opened(tmp_path / "a.svm", "1 1:2\n")
    stand_in = SimpleNamespace(load_svmlight_file=fails)
    monkeypatch.setattr("ooc.conversion.svmlight.importing", lambda package: stand_in)
    with pytest.raises(DataError) as caught:
        next(source.pieces(["X"], None)).read()
    assert str(caught.value) == (
        f"a line of {tmp_path}/a.svm from 1 on cannot be read: it is a riddle"
    )


def test_rows_are_sparse_unless_they_are_to_be_dense(tmp_path: Path) -> None:
    source = opened(tmp_path / "a.svm", "1 2:3 99:1\n0\n1 1:4\n")
    assert source.columns["X"].nonzeros == 3
    rows = next(source.pieces(["X"], None)).read()["X"]
    assert isinstance(rows, SparseValues)
    assert (rows.counts.tolist(), rows.width) == ([2, 0, 1], 99)
    assert (rows.indices.tolist(), rows.data.tolist()) == ([1, 98, 0], [3, 1, 4])
    assert opened(tmp_path / "a.svm", "1 99:1\n", dense=True).columns["X"].nonzeros is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"1 3:0.5 7:2\n-1 2:1\n", Scan(2, 3, 2, 7, 12)),
        (b"+1 qid:4 3:0.5 12:2\n1.5 10:1\n2e3\n7", Scan(4, 4, 2, 12, 20)),
        (b"# 9:9\n1 1:2 # 8:1\n\n 3 2:1 \r\n", Scan(2, 2, 2, 2, 12)),
        (b"- 1:2\n1\t5:1\nx 12345:1\n", Scan(3, 3, 1, 12345, 10)),
    ],
)
def test_lines_are_counted_with_and_without_comments(text: bytes, expected: Scan) -> None:
    assert scan(text) == expected


def test_lines_are_counted_alike_by_either_way() -> None:
    text = made(60, 1)[0].replace("# nothing\n\n", "").replace(" # 9:9", "").split("\n", 1)[1]
    plain, commented = scan(text.encode()), scan(f"{text}\n#\n".encode())
    assert plain == commented
