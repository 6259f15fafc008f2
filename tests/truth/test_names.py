"""Names that a terminal or a library would take for something else are shown as they are."""

from pathlib import Path

import pytest
import zarr
from shell import make_small

from ooc.cli import main

MEMORY = "512MiB"
SLOW = pytest.mark.slow

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


# Of these, one name of a kind; the rest is slow.
DEFAULT = ("markup", "percent", "colour", "unseen", "not text")
SOME = [pytest.param(name, marks=[] if name in DEFAULT else SLOW) for name in NAMES]


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("name", SOME)
def test_names_are_shown_and_never_obeyed_before_work(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], name: str
) -> None:
    said = NAMES[name]
    folder = tmp_path / said
    folder.mkdir(parents=True)
    data = stored(folder, name)
    lines = [
        (0, ["info", data, "--verify"]),
        (2, ["info", str(folder / said)]),
        (2, ["info", data, "--features", said + "?"]),
        (2, ["train", data, "--optimizer", said]),
        (2, ["make", said, str(folder / "b.zarr"), "--rows", "10"]),
        (2, ["info", data, f"--{said}"]),
    ]
    are_shown(lines, capfdbinary)


def stored(folder: Path, name: str) -> str:
    """Write a store with an array of this name, if it can be one; return its path."""
    data = make_small(folder)
    if name != "not text":
        array = NAMES[name].replace("/", "|")
        more = zarr.open_group(data, mode="r+").create_array(array, shape=(500,), dtype="f4")
        more[...] = 1
    return str(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_names_are_shown_and_never_obeyed(
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr("ooc.stream.window_advice.MEASURED_SECONDS", 1e-3)
    folder = tmp_path / NAMES[name]
    folder.mkdir(parents=True)
    data = stored(folder, name)
    run, out = str(folder / "run"), str(folder / "out.zarr")
    brief = ["--lr", "0.1", "--epochs", "1", "--memory", MEMORY]
    lines = [
        (0, ["plan", data, "--memory", MEMORY]),
        (0, ["train", data, *brief, "--run", run]),
        (2, ["train", data, *brief, "--run", run]),
        (0, ["resume", run]),
        (0, ["evaluate", run, data, "--memory", MEMORY]),
        (0, ["predict", run, data, out, "--memory", MEMORY]),
        (2, ["predict", run, data, out]),
        (0, ["report", run, "--out", str(folder / "page.html")]),
    ]
    are_shown(lines, capfdbinary)


def are_shown(
    lines: list[tuple[int, list[str]]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Run these lines, which end with a status each."""
    for status, line in lines:
        assert main(line) == status, line
        shown = capfdbinary.readouterr()
        for text in (shown.out.decode(), shown.err.decode()):
            assert not OBEYED & set(text), (line, text)
            assert "Traceback" not in text
        if status == 2:
            assert shown.out == b"" and shown.err.count(b"\n") == 1, shown.err
