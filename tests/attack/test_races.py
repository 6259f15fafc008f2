"""Every pair of commands that write, on one path at once: one wins, and what is left is whole."""

import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from attack.ends import MEMORY
from attack.processes import Forks
from attack.stores import train, write_with_runs
from ooc.core.errors import InputError
from ooc.runs import checkpoint

pytestmark = pytest.mark.slow
COMMANDS = ("make", "predict", "shuffle", "train", "sweep", "resume", "report")
OFFSETS = (0.0, 0.1)
CASES = [
    (one, other, offset)
    for one, other in itertools.combinations_with_replacement(COMMANDS, 2)
    for offset in OFFSETS
]


def line_of(command: str, folder: Path, path: Path) -> list[str]:
    data, run = folder / "a.zarr", folder / "run"
    more = ["--epochs", "30", "--save-steps", "10"]
    lines = {
        "make": ["make", "linear", str(path), "--rows", "50k", "--features", "16"],
        "predict": ["predict", str(run), str(data), str(path), "--memory", MEMORY],
        "shuffle": ["shuffle", str(data), str(path), "--memory", MEMORY],
        "train": [*train(data, path), *more],
        "sweep": ["sweep", str(data), "--lr", "0.1,0.2", "--batch-size", "16", *more,
                  "--memory", MEMORY, "--run", str(path)],
        "resume": ["resume", str(path)],
        "report": ["report", str(run), "--out", str(path)],
    }  # fmt: skip
    return lines[command]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("races")
    write_with_runs(folder, "v3")
    return folder


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.combinations_with_replacement(COMMANDS, 2))
)
def test_two_writers_of_one_path_leave_one_whole_thing(
    tmp_path: Path, base: Path, forks: Forks, one: str, other: str
) -> None:
    for place, offset in enumerate(of for *pair, of in CASES if pair == [one, other]):
        path = tmp_path / str(place) / "it"
        path.parent.mkdir()
        if "resume" in (one, other):
            os.system(f"cp -r {base}/begun {path}")
        children = [forks.begin(line_of(one, base, path))]
        time.sleep(offset)
        children.append(forks.begin(line_of(other, base, path)))
        ends = [forks.end(child, 60) for child in children]
        for end in ends:
            assert end.status in (0, 2) and "Traceback" not in end.err, end
            told = [line for line in end.err.splitlines() if line.startswith("ooc: ")]
            assert end.status == 0 or (len(told) == 1 and "it" in told[0]), end.err
        assert 0 in [end.status for end in ends], ends
        # Pages replace each other, each whole; runs that have ended may be gone on with.
        if (one, other) not in (("report", "report"), ("resume", "resume"), ("train", "resume")):
            assert [end.status for end in ends].count(0) == 1, ends
        is_whole(path, base)
        # A shuffle that met another at its end keeps what it could go on with.
        left = {each.name for each in path.parent.iterdir()}
        assert left - {".it.shuffle"} == {"it"}, left


def is_whole(path: Path, base: Path) -> None:
    """Read all of what is left: a page, a run, a sweep or a dataset, and nothing of two."""
    if path.is_file():
        text = path.read_text()
        assert text.startswith("<!DOCTYPE html>") and text.rstrip().endswith("</html>")
        return
    is_run = any(path.rglob("*.npz"))
    is_data = (path / "zarr.json").exists()
    assert is_run != is_data, list(path.iterdir())
    if is_data:
        group = zarr.open_group(path, mode="r")
        rows = {values.shape[0] for _, values in group.arrays()}
        assert len(rows) == 1
        if "X" in group and group["X"].shape[0] == 60:
            source = zarr.open_group(base / "a.zarr", mode="r")["X"][:]
            np.testing.assert_array_equal(np.sort(group["X"][:], axis=0), np.sort(source, axis=0))
        return
    runs = [path] if checkpoint.steps(path) else [each for each in path.iterdir() if each.is_dir()]
    for run in runs:
        try:
            arrays, description = checkpoint.load(run)
        except InputError as error:
            raise AssertionError(str(error)) from error
        assert checkpoint.sha256_of(arrays["parameters"]) == description["parameters_sha256"]
        assert description["finished"], "the one that won came to its end"
