"""Signals at many instants of every command: a status, a line, and nothing half-written."""

import os
import random
import time
from pathlib import Path

import pytest

from attack.ends import MEMORY
from attack.processes import Forks
from attack.stores import train, write_with_runs
from ooc.core.stopping import ASKING
from ooc.runs import checkpoint

pytestmark = pytest.mark.slow
COMMANDS = ("make", "train", "predict", "shuffle", "resume", "verify")
# Shares of the time that a command takes, beside ones at random.
INSTANTS = (0.02, 0.4, 0.8)
CASES = [(each, number, at) for each in COMMANDS for number in ASKING for at in INSTANTS]
HIDDEN = (".lock", ".partial")


def line_of(command: str, folder: Path, out: Path) -> list[str]:
    data, run = folder / "a.zarr", folder / "run"
    long = ["--save-steps", "20", "--epochs", "40"]
    return {
        "make": ["make", "linear", str(out / "m.zarr"), "--rows", "100k", "--features", "16"],
        "train": [*train(data, out / "run"), *long],
        "predict": ["predict", str(run), str(data), str(out / "p.zarr"), "--memory", MEMORY],
        "shuffle": ["shuffle", str(data), str(out / "s.zarr"), "--memory", MEMORY],
        "resume": ["resume", str(out / "begun")],
        "verify": ["info", str(data), "--verify"],
    }[command]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signals")
    write_with_runs(folder, "v3")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_at_any_instant_ends_a_command_cleanly(
    tmp_path: Path, base: Path, forks: Forks, command: str
) -> None:
    chance, took = random.Random(command), 0.0
    for place, (_, number, at) in enumerate(case for case in CASES if case[0] == command):
        out = tmp_path / str(place)
        out.mkdir()
        if command == "resume":
            os.system(f"cp -r {base}/begun {out}/begun")
        line = line_of(command, base, out)
        if not took:
            took = forks.end(forks.begin(line), 60).seconds
            os.system(f"rm -rf {out}; mkdir {out}; cp -r {base}/begun {out}/begun")
        child = forks.begin(line)
        time.sleep(took * at * chance.uniform(0.8, 1.2))
        if forks.status_now(child) is None:
            os.kill(child, number)
        end = forks.end(child, 20)
        # It may have come to its end before, and after it.
        assert end.status in (0, 128 + number, -number), (number, at, end)
        assert "Traceback" not in end.err, end.err
        if end.status == -number:  # before it was listened for, or behind the command's end
            continue
        told = [line for line in end.err.splitlines() if line.startswith("ooc: ")]
        assert len(told) <= 1, end.err
        left = [path.name for path in out.iterdir()]
        allowed = [".s.zarr.shuffle", ".s.zarr.partial"]
        assert not [each for each in left if each.endswith(HIDDEN) and each not in allowed], left
        for run in (out / "run", out / "begun"):
            if checkpoint.steps(run):
                assert checkpoint.load(run)[1]["step"] >= 0
                assert not list(run.rglob("*.partial"))
