"""Names of every kind, where names can stand: shown as they are, one line, and never obeyed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from attack.ends import MEMORY, end_of, problems_of
from attack.stores import train, trained, values, write

pytestmark = pytest.mark.slow
LONG = "n" * 300
# Names of files, of arrays and of options.
NAMES = {
    "a line feed": "a\nb", "line feeds": "\n\n", "a return": "a\rb", "a tab": "a\tb",
    "a colour": "\x1b[31mred\x1b[0m", "a title": "\x1b]0;owned\x07", "clear": "\x1b[2J\x1b[H",
    "a bell": "\x07", "a delete": "a\x7fb", "8-bit control": "a\x9b31mb", "next line": "a\x85b",
    "line separator": "a\u2028b", "right to left": "\u202egnp.exe", "no width": "a\u200bb",
    "markup": "[red]x[/red]", "closing": "[/]", "link": "[link=http://x]y[/link]",
    "percent": "100%s%d%(x)s%%", "braces": "{0}{x!r}{{", "dollar": "$HOME `id` $(id)",
    "glob": "*?[a-z]", "quotes": "'\"`", "backslash": "a\\nb\\x41", "spaces": "  a  b  ",
    "one space": " ", "dots": "...", "hidden": ".a", "hash": "#a?b=c&d", "colon": "a:b",
    "drive": "C:a", "emoji": ":smile: \U0001f600", "umlauts": "Größe", "combining": "e\u0301" * 20,
    "Chinese": "数据", "Arabic": "بيانات", "not text": "caf\udce9", "lone half": "\ud800",
    "dash": "-x", "dashes": "--help", "only dashes": "--", "minus one": "-1", "equals": "--a=b",
    "null": "None", "true": "True", "empty": "", "of 200": "n" * 200, "of 255": "n" * 255,
    "too long": LONG, "far too long": "n/" * 3000, "long umlauts": "ü" * 130, "a null": "a\0b",
}  # fmt: skip
OBEYED = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u202e", "\u200b", "\u2028"} - {"\n"}
# What takes a name, with what stands beside it.
TAKES: dict[str, Callable[[str, str, str, Path], list[str]]] = {
    "data": lambda name, data, run, folder: ["info", name],
    "features": lambda name, data, run, folder: ["info", data, f"--features={name}"],
    "run": lambda name, data, run, folder: ["evaluate", name, data, "--memory", MEMORY],
    "resumed": lambda name, data, run, folder: ["resume", name],
    "reported": lambda name, data, run, folder: ["report", name, "--out", str(folder / "p.html")],
    "model": lambda name, data, run, folder: ["train", data, f"--model={name}"],
    "optimizer": lambda name, data, run, folder: ["train", data, f"--optimizer={name}"],
    "schedule": lambda name, data, run, folder: ["train", data, f"--schedule={name}", "--lr", "1"],
    "memory": lambda name, data, run, folder: ["plan", data, f"--memory={name}"],
    "kind": lambda name, data, run, folder: ["make", name, str(folder / "m.zarr"), "--rows", "9"],
    "rows": lambda name, data, run, folder: ["make", "linear", "m.zarr", f"--rows={name}"],
    "option": lambda name, data, run, folder: ["info", data, f"--{name}"],
    "url": lambda name, data, run, folder: ["info", f"nowhere://{name}"],
    "order": lambda name, data, run, folder: ["shuffle", data, "--measure", f"--order={name}"],
}
# Commands that write to a name: they do, or refuse.
WRITES: dict[str, Callable[[str, str, str], list[str]]] = {
    "make": lambda name, data, run: ["make", "linear", name, "--rows", "9", "--features", "2"],
    "train": lambda name, data, run: train(Path(data), Path(name)),
    "predict": lambda name, data, run: ["predict", run, data, name, "--memory", MEMORY],
    "shuffle": lambda name, data, run: ["shuffle", data, name, "--memory", MEMORY],
    "report": lambda name, data, run: ["report", run, "--out", name],
}
NO_ARRAYS = ("empty", "far too long", "a null", "dots", "hidden", "backslash")
CASES = [*((place, name) for name in NAMES for place in [*TAKES, *WRITES])]
# zarr-python takes these for paths, or for hidden files.
ARRAYS = [name for name in NAMES if name not in NO_ARRAYS]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("names")
    data, run = write(folder / "a.zarr", "v3"), folder / "run"
    return str(data), str(trained(data, run))


def shown(line: list[str], end_status: tuple[int, ...]) -> list[str]:
    """Return what is wrong with how a command that was given a name ends."""
    end = end_of(line)
    found = problems_of(end, end.status if end.status in end_status else end_status[0])[:1]
    if OBEYED & set(end.out + end.err):
        found.append(f"obeyed: {end.err[-200:]!r} {end.out[-200:]!r}")
    return [f"{' '.join(line)[:120]!r}: {each}" for each in found]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_there_is_not_is_shown_in_one_line(
    tmp_path: Path, base: tuple[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    problems = []
    for place, line_of in TAKES.items():
        line = line_of(NAMES[name], *base, tmp_path)
        problems += [f"{place}: {each}" for each in shown(line, (0, 2))]
    assert not problems, "\n".join(problems)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_to_a_name_is_whole_or_not_there(
    tmp_path: Path, base: tuple[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = []
    for command, line_of in WRITES.items():
        folder = tmp_path / command
        folder.mkdir()
        monkeypatch.chdir(folder)
        line = line_of(NAMES[name], *base)
        problems += [f"{command}: {each}" for each in shown(line, (0, 2))]
        left = [path.name for path in folder.iterdir()]
        if any(each.endswith((".lock", ".partial", ".shuffle")) for each in left):
            problems.append(f"{command}: left {left}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_any_name_is_shown_and_used(tmp_path: Path, name: str) -> None:
    said = NAMES[name].replace("/", "|")[:200]
    data = tmp_path / "a.zarr"
    group = zarr.create_group(data)
    try:
        for array, contents in {said: values()["X"], "y": values()["y"]}.items():
            group.create_array(array, data=contents, chunks=(10, *contents.shape[1:]))
    except (ValueError, OSError, UnicodeError):
        pytest.skip("zarr-python writes no array of this name")
    features = f"--features={said}"
    problems = shown(["info", str(data), features], (0,))
    problems += shown([*train(data, tmp_path / "run"), features], (0,))
    problems += shown(["shuffle", str(data), str(tmp_path / "b.zarr"), features], (0,))
    assert not problems, "\n".join(problems)
    rows = zarr.open_group(tmp_path / "b.zarr", mode="r")[said][:]
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(values()["X"], axis=0))
    noted = json.loads((tmp_path / "run" / "run.json").read_text())["dataset"]["features"]
    assert noted == said
