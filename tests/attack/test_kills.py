"""Writers and trainers that are killed at random instants: begun again, they come to the same."""

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from attack.ends import MEMORY
from attack.processes import Forks
from attack.stores import train, write
from ooc.runs import checkpoint

pytestmark = pytest.mark.slow
# A seed is a kill: of these, as many of each.
KILLS = {"make": 40, "shuffle": 15, "train": 25, "predict": 20}
CASES = [(command, seed) for command, kills in KILLS.items() for seed in range(kills)]


def line_of(command: str, folder: Path, out: Path) -> list[str]:
    data = folder / "a.zarr"
    more = ["--epochs", "30", "--save-steps", "10", "--readers", "1"]
    return {
        "make": ["make", "linear", str(out), "--rows", "40k", "--features", "8"],
        "shuffle": ["shuffle", str(data), str(out), "--memory", MEMORY],
        "train": [*train(data, out), *more],
        "predict": ["predict", str(folder / "run"), str(data), str(out), "--memory", MEMORY],
    }[command]


def result_of(path: Path) -> Any:
    """Return what has to be the same: the parameters' hash, or every array."""
    if (path / "run.json").exists():
        return json.loads((path / "run.json").read_text())["parameters_sha256"]
    arrays = zarr.open_group(path, mode="r").arrays()
    return {name: np.asarray(values[:]).tobytes() for name, values in arrays}


@pytest.fixture(scope="module")
def forks() -> Any:
    with Forks() as running:
        yield running


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    data = write(folder / "a.zarr", "sharded")
    assert forks.end(forks.begin(train(data, folder / "run")), 120).status == 0
    return folder


@pytest.mark.parametrize("command", KILLS)
def test_what_was_killed_comes_to_the_same_bits(
    tmp_path: Path, base: Path, forks: Forks, command: str
) -> None:
    whole = tmp_path / "whole"
    for path in (whole, tmp_path / "again"):
        end = forks.end(forks.begin(line_of(command, base, path)), 120)
        assert end.status == 0, end.err
    expected, killed = result_of(whole), 0
    for each, seed in CASES:
        if each != command:
            continue
        chance, path = random.Random(f"{command} {seed}"), tmp_path / "it"
        child = forks.begin(line_of(command, base, path))
        time.sleep(chance.uniform(0, 1.05 * end.seconds))
        if forks.status_now(child) is None:
            os.kill(child, 9)
        killed += forks.end(child, 20).status == -9
        if not path.exists() or command == "train":
            line = ["resume", str(path)] if checkpoint.steps(path) else None
            again = forks.end(forks.begin(line or line_of(command, base, path)), 60)
            assert again.status == 0, (seed, again.err)
            assert not list(tmp_path.glob(".it*")), seed
        assert result_of(path) == expected, seed
        os.system(f"rm -rf {path}")
    assert killed > KILLS[command] // 2
