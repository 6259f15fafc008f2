"""Names that a terminal or a library would take for something else are shown as they are."""

from pathlib import Path

import pytest
import zarr
from shell import make_small

from ooc.cli import main

MEMORY = "512MiB"


NAMES = {
    "markup": "[red]x[/red]",
    "end of markup": "[/]",
    "unknown end": "a[/bold]b",
    "braces": "{x}",
    "percent": "%s %(x)s",
    "emoji": ":smile:",
    "colour": "\x1b[31mred",
    "title": "\x1b]0;title\x07",
    "carriage return": "good\rbad",
    "backspace": "bad\b\b\bgood",
    "8-bit control": "\x9b31m",
    "right to left": "\u202egnp.exe",
    "unseen": "a\u200bb",
    "not text": "caf\udce9",
    "not ASCII": "Größe",
}
OBEYED = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u202e", "\u200b"} - {"\n"}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_and_never_obeyed(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], name: str
) -> None:
    said = NAMES[name]
    folder = tmp_path / said
    folder.mkdir(parents=True)
    data = make_small(folder)
    if name != "not text":
        array = said.replace("/", "|")
        more = zarr.open_group(data, mode="r+").create_array(array, shape=(500,), dtype="f4")
        more[...] = 1
    run, out = str(folder / "run"), str(folder / "out.zarr")
    lines = [
        (0, ["info", str(data), "--verify"]),
        (0, ["plan", str(data), "--memory", MEMORY]),
        (0, ["train", str(data), "--lr", "0.1", "--memory", MEMORY, "--run", run]),
        (2, ["train", str(data), "--lr", "0.1", "--memory", MEMORY, "--run", run]),
        (0, ["resume", run]),
        (0, ["evaluate", run, str(data), "--memory", MEMORY]),
        (0, ["predict", run, str(data), out, "--memory", MEMORY]),
        (2, ["predict", run, str(data), out]),
        (2, ["info", str(folder / said)]),
        (2, ["info", str(data), "--features", said + "?"]),
        (2, ["train", str(data), "--optimizer", said]),
        (2, ["make", said, str(folder / "b.zarr"), "--rows", "10"]),
        (2, ["info", str(data), f"--{said}"]),
        (0, ["report", run, "--out", str(folder / "page.html")]),
    ]
    for status, line in lines:
        assert main(line) == status, line
        shown = capfdbinary.readouterr()
        for text in (shown.out.decode(), shown.err.decode()):
            assert not OBEYED & set(text), (line, text)
            assert "Traceback" not in text
        if status == 2:
            assert shown.out == b"" and shown.err.count(b"\n") == 1, shown.err
