"""Writers and trainers that are killed at random instants: begun again, they come to the same."""

import json
import os
import random
import shutil
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
KILLS = {"make": 40, "create": 15, "shuffle": 15, "train": 25, "sweep": 15, "predict": 20}
RATES = ("0.1", "0.2")
# By which a dataset grows from Python: rows enough for several shards.
CREATE = """
import numpy as np
fields = {{"X": ("float32", (8,)), "y": ("int64", ())}}
with ooc.create({!r}, fields, chunk_bytes=2**14, shard_bytes=2**17) as writer:
    for part in range(60):
        x = np.random.default_rng(part).standard_normal((700, 8), dtype=np.float32)
        writer.append({{"X": x, "y": np.full(700, part)}})
"""
CASES = [(command, seed) for command, kills in KILLS.items() for seed in range(kills)]


def line_of(command: str, folder: Path, out: Path) -> list[str]:
    data = folder / "a.zarr"
    more = ["--epochs", "30", "--save-steps", "10", "--readers", "1"]
    several = ["--lr", ",".join(RATES), "--epochs", "10", "--save-steps", "5", "--readers", "1"]
    return {
        "create": ["-c", CREATE.format(str(out))],
        "sweep": ["sweep", *train(data, out)[1:], *several],
        "make": ["make", "linear", str(out), "--rows", "40k", "--features", "8"],
        "shuffle": ["shuffle", str(data), str(out), "--memory", MEMORY],
        "train": [*train(data, out), *more],
        "predict": ["predict", str(folder / "run"), str(data), str(out), "--memory", MEMORY],
    }[command]


def lines_after(command: str, folder: Path, path: Path) -> list[list[str]]:
    """Return what brings to its end what was killed: begun anew, or each of its runs resumed."""
    if command not in ("train", "sweep"):
        return [line_of(command, folder, path)]
    runs = {"": path} if command == "train" else {rate: path / f"lr={rate}" for rate in RATES}
    if not any(map(checkpoint.steps, runs.values())):
        return [line_of(command, folder, path)]
    data, how = folder / "a.zarr", ["--epochs", "10", "--lr"]
    return [
        ["resume", str(run)] if checkpoint.steps(run) else [*train(data, run), *how, rate]
        for rate, run in runs.items()
    ]


def result_of(path: Path) -> Any:
    """Return what has to be the same: the hashes of parameters, or every array."""
    runs = [path, *sorted(path.glob("lr=*"))]
    if any(checkpoint.steps(run) for run in runs):
        told = [run / "run.json" for run in runs if checkpoint.steps(run)]
        return [json.loads(each.read_text())["parameters_sha256"] for each in told]
    arrays = zarr.open_group(path, mode="r").arrays()
    return {name: np.asarray(values[:]).tobytes() for name, values in arrays}


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
    expected, seconds = result_of(whole), end.seconds
    for each, seed in CASES:
        if each != command:
            continue
        chance, path, killed = random.Random(f"{command} {seed}"), tmp_path / "it", False
        while not killed:
            child = forks.begin(line_of(command, base, path))
            time.sleep(chance.uniform(0, seconds))
            if forks.status_now(child) is None:
                os.kill(child, 9)
            killed = forks.end(child, 20).status == -9
            if not killed:
                # It ended before: the machine is faster than when it was measured.
                seconds *= 0.8
                shutil.rmtree(path)
        # Killed after the very last step, it is whole, and the next one may only tidy up.
        whole_already = command not in ("train", "sweep") and path.exists()
        for line in lines_after(command, base, path):
            again = forks.end(forks.begin(line), 60)
            refused = again.status != 0 and "already exists" in again.err
            assert refused if whole_already else again.status == 0, (seed, again.err)
        assert path.exists() and not (again_at := list(tmp_path.glob(".it*"))), (seed, again_at)
        assert result_of(path) == expected, seed
        shutil.rmtree(path)
