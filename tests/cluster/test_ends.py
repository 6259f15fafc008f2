"""Whatever ends a run on a cluster, real processes are killed: it is saved, and goes on here."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from dask_processes import awaited, dask_processes
from datasets import write_dataset

from ooc.cli import main
from ooc.runs import checkpoint

pytestmark = pytest.mark.slow
SAME = ("parameters_sha256", "loss", "steps", "rows", "epochs")
LINE = (
    "train a.zarr --model logistic --lanes 2 --block-rows 40 --window 20 --batch-size 50 --lr 0.1"
)
TRAIN = [*LINE.split(), "--epochs", "60", "--seed", "3", "--save-steps", "70", "--json", "--run"]


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows in windows, which batches span."""
    monkeypatch.chdir(tmp_path)
    x = rng.standard_normal((2000, 3)).astype("f4")
    write_dataset(tmp_path / "a.zarr", chunk_rows=40, X=x, y=(x[:, 0] > 0).astype("i8"))
    return tmp_path


def whole(capsys: pytest.CaptureFixture[str], *more: str) -> dict:
    assert main([*TRAIN, "whole", *more]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def resumed(capsys: pytest.CaptureFixture[str], *more: str) -> dict:
    assert main(["resume", "run", "--json", *more]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def started(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """Train in a process of its own, and return it when it has saved some steps."""
    command = [sys.executable, "-m", "ooc", *TRAIN, "run", *options]
    process = subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip

    def has_saved() -> bool | None:
        assert process.poll() is None, process.communicate()
        return True if saved(folder) > 140 else None

    awaited(has_saved)
    return process


def saved(folder: Path) -> int:
    with suppress(OSError):
        return max(checkpoint.steps(folder / "run"), default=0)
    return 0


@pytest.mark.parametrize(
    ("who", "options"),
    [("scheduler", ""), ("all", ""), ("scheduler", "--local-steps 4"), ("all", "--local-steps 4")],
)
def test_a_cluster_that_dies_ends_the_run_in_one_sentence_and_it_goes_on_here(
    folder: Path, capsys: pytest.CaptureFixture[str], who: str, options: str
) -> None:
    expected = whole(capsys, *options.split())
    with dask_processes(folder) as cluster:
        process = started(folder, "--scheduler", cluster.address, *options.split())
        if who == "all":
            cluster.kill()
        else:
            cluster.scheduler.kill()
        _, told = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = [each for each in told.splitlines() if not each.startswith("train ")]
    assert re.fullmatch(
        rf"ooc: the scheduler at {cluster.address} does not answer any more; start it and its "
        rf"workers again, and resume the run; run holds the run after step {saved(folder)}", line
    ), told  # fmt: skip
    found = resumed(capsys)
    assert [found[key] for key in SAME] == [expected[key] for key in SAME]


def test_a_run_whose_scheduler_died_goes_on_with_another_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = whole(capsys)
    with dask_processes(folder) as cluster:
        process = started(folder, "--scheduler", cluster.address)
        cluster.kill()
        process.communicate(timeout=120)
    (folder / "scheduler.json").unlink()
    with dask_processes(folder, workers=1) as cluster:
        found = resumed(capsys, "--scheduler", cluster.address)
    assert [found[key] for key in SAME] == [expected[key] for key in SAME]


def test_a_run_with_backup_lanes_goes_on_with_another_cluster_and_passes_each_row_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with dask_processes(folder) as cluster:
        process = started(folder, "--scheduler", cluster.address, "--backup-lanes", "1")
        cluster.kill()
        _, told = process.communicate(timeout=120)
    assert process.returncode == 2
    assert f"run holds the run after step {saved(folder)}" in told
    (folder / "scheduler.json").unlink()
    with dask_processes(folder) as cluster:
        found = resumed(capsys, "--scheduler", cluster.address)
    assert found["steps"] == 60 * 2000 // 50
    assert found["rows"] + found["dropped_rows"] == 60 * 2000


@pytest.mark.parametrize(
    ("number", "to_all"), [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, True)]
)
def test_a_signal_to_end_saves_the_run_and_ends_the_workers_that_were_started_for_it(
    folder: Path, capsys: pytest.CaptureFixture[str], number: int, to_all: bool
) -> None:
    """Ctrl-C goes to all processes of the terminal, the workers among them."""
    expected = whole(capsys)
    process = started(folder, "--local-cluster", "2")
    before = saved(folder)
    (os.killpg if to_all else os.kill)(process.pid, number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "Traceback" not in told
    assert saved(folder) >= before
    awaited(lambda: True if not processes_of(process.pid) else None)
    found = resumed(capsys)
    assert [found[key] for key in SAME] == [expected[key] for key in SAME]


def test_workers_end_with_a_client_that_is_killed(folder: Path) -> None:
    process = started(folder, "--local-cluster", "2")
    process.kill()
    process.communicate()
    awaited(lambda: True if not processes_of(process.pid) else None)


def processes_of(session: int) -> list[Path]:
    """Return the folders of a session's processes that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, own = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z":
                found.append(folder)
    return found


def test_all_that_is_started_listens_on_loopback_alone(folder: Path) -> None:
    process = started(folder, "--local-cluster", "2")
    try:
        heard = set(listeners(process.pid))
    finally:
        process.kill()
        process.communicate()
    assert len(heard) >= 3, "a scheduler and two workers"
    assert {address for address, _ in heard} == {"127.0.0.1"}


def listeners(session: int) -> Iterator[tuple[str, int]]:
    """Yield (address, port) of all sockets that a session's processes listen on."""
    sockets = set()
    for folder in processes_of(session):
        for each in (folder / "fd").iterdir():
            with suppress(OSError):
                sockets.add(str(each.readlink()))
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                number, port = fields[1].split(":")
                words = [
                    bytes.fromhex(number[at : at + 8])[::-1] for at in range(0, len(number), 8)
                ]
                yield socket.inet_ntop(family, b"".join(words)), int(port, 16)
