"""A report as a file: what is returned of it, and what drawing needs."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from histories import write_run

from ooc.core.errors import InputError
from ooc.report import drawing_library, write_report
from ooc.report.cells import NOTHING
from ooc.report.page import page
from ooc.report.runs import read_runs


@pytest.fixture(autouse=True)
def _small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = SimpleNamespace(get_plotlyjs=lambda: "draw('</script>')")
    monkeypatch.setitem(sys.modules, "plotly.offline", stand_in)


def test_what_is_returned_is_what_was_written(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, lines=2, seed=i) for i, name in enumerate("äa")]
    out = tmp_path / "page.html"
    out.write_text("an older one")
    told = write_report([str(runs[0]), runs[1]], str(out))
    content = out.read_bytes()
    assert (told["path"], told["page_bytes"]) == (str(out), len(content))
    assert sorted(told["runs"]) == [str(tmp_path / "a"), str(tmp_path / "ä")]
    best = [str(run.path) for run in read_runs(runs)]
    assert told["runs"] == best
    assert told["pictures"] == content.count(b'class="plot"') > 3
    assert content.decode().count("draw('<\\/script>')") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a", "ä", "page.html"}


def test_a_library_ends_no_element() -> None:
    assert drawing_library() == "draw('<\\/script>')"


def test_where_a_page_cannot_be(tmp_path: Path) -> None:
    write_run(tmp_path / "a", lines=2)
    for out, message in (
        (tmp_path, f"{tmp_path} is a folder; name the file to write, such as {tmp_path}/report."
         "html"),
        (tmp_path / "no" / "b.html", f"the folder {tmp_path}/no of b.html does not exist; make it "
         "first"),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            write_report([tmp_path / "a"], out)
        assert str(caught.value) == message
    for runs, out in (["s3://x/a"], "b.html"), ([tmp_path / "a"], "s3://x/b.html"):
        with pytest.raises(InputError, match="is a URL"):
            write_report(runs, out)


def classes(path: Path, measured: str) -> list[str]:
    write_run(path, lines=1)
    (path / "run.json").write_text(f'{{"results": {{"validation": {{"per_class": {measured}}}}}}}')
    text, _ = page(read_runs([path]), "")
    row = text.partition("<h4>Classes")[2].partition("<tbody>")[2].partition("</tr>")[0]
    return [cell.removesuffix("</td>") for cell in row.split("<td>")[1:]]


def test_what_is_measured_of_a_class_is_in_its_row(tmp_path: Path) -> None:
    whole = '{"precision": [0.25], "recall": [0.5], "f1": [true], "weight": [1234567.0]}'
    assert classes(tmp_path / "a", whole) == ["0", "0.2500", "0.5000", NOTHING, "1.23457e+06"]
    for place, odd in enumerate(
        ('{"weight": [1.0]}', '{"precision": [1], "recall": [1, 2], "f1": [1], "weight": [1]}', "3")
    ):
        assert classes(tmp_path / f"odd{place}", odd) == []
