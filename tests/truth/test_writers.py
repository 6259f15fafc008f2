"""Two writers of one path, and what killed ones leave: one whole result, or one line."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from labelled import trainer, write_labelled
from pairs import pairs

import ooc
from ooc.cli import main
from ooc.core.destination import claimed
from ooc.core.errors import InputError
from ooc.runs import checkpoint, run_directory
from ooc.runs.run_directory import read_history
from ooc.shuffle import exact
from ooc.store.dataset import Dataset
from ooc.synthetic import Recipe, make

MEMORY = "512MiB"
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def labelled(tmp_path: Path) -> Dataset:
    return write_labelled(tmp_path / "labelled.zarr")


def written_again(path: Path, source: Dataset) -> dict[str, Callable[[], object]]:
    run = trainer().fit(source)
    return {
        "create": lambda: ooc.create(path, {"X": ("float32", ())}).__enter__(),
        "make": lambda: make(path, Recipe("linear", 10, 2)),
        "predict": lambda: run.predict_to(source, path),
        "shuffle": lambda: exact(source, path, "768MiB"),
    }


def test_a_path_that_is_being_written_is_refused(labelled: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "new.zarr"
    told = rf"process {os.getpid()} is writing .*new\.zarr; wait for it"
    others = written_again(path, labelled)
    with ooc.create(path, {"X": ("float32", ())}) as writer:
        for call in others.values():
            with pytest.raises(InputError, match=told):
                call()
        writer.append({"X": np.arange(7)})
    np.testing.assert_array_equal(zarr.open_group(path, mode="r")["X"][:], np.arange(7))
    for call in others.values():
        with pytest.raises(InputError, match="already exists"):
            call()
    assert {each.name for each in tmp_path.iterdir()} == {"labelled.zarr", "new.zarr"}


@pytest.mark.parametrize(
    "name",
    [
        "make",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("create", "predict", "shuffle")),
    ],
)
def test_what_a_killed_writer_left_is_taken_over(
    labelled: Dataset, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "new.zarr"
    code = (
        "import sys, time, ooc\n"
        "with ooc.create(sys.argv[1], {'X': ('f4', ())}, chunk_bytes=4, shard_bytes=8) as writer:\n"
        "    writer.append({'X': range(7)})\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    call = written_again(path, labelled)[name]
    with pytest.raises(InputError, match=f"process {child.pid} is writing"):
        call()
    child.kill()
    child.wait()
    assert {each.name for each in tmp_path.iterdir()} > {".new.zarr.lock", ".new.zarr.partial"}
    with suppress(AttributeError):
        call()
    if name == "create":  # its context was left to the garbage
        return
    assert {each.name for each in tmp_path.iterdir()} == {"labelled.zarr", "new.zarr"}
    if name == "shuffle":
        found = zarr.open_group(path, mode="r")["X"][:]
        source = zarr.open_group(labelled.path, mode="r")["X"][:]
        np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(source, axis=0))


@pytest.mark.slow
def test_two_makes_at_once_leave_one_whole_dataset(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "ooc", "make", "linear", "a.zarr", "--rows", "60k"]
    options = {"cwd": tmp_path, "stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = []
    for _ in range(3):
        children.append(
            subprocess.Popen(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, **options)  # type: ignore[call-overload]
        )
    ended = [(child.communicate()[1], child.returncode) for child in children]
    assert sorted(status for _, status in ended) == [0, 2, 2], ended
    for told, status in ended:
        assert status == 0 or "is writing a.zarr" in told or "already exists" in told
    make(tmp_path / "alone.zarr", Recipe("linear", 60_000, 128))
    both = [zarr.open_group(tmp_path / name, mode="r") for name in ("a.zarr", "alone.zarr")]
    for name in ("X", "y"):
        np.testing.assert_array_equal(*(group[name][::1000] for group in both))
    assert {each.name for each in tmp_path.iterdir()} == {"a.zarr", "alone.zarr"}


def test_a_lock_is_not_lost_while_its_file_is_replaced(tmp_path: Path) -> None:
    """Many threads take turns: never two at once, although each removes the file."""
    path, inside, most = tmp_path / "x", [], []

    def work() -> None:
        for _ in range(60):
            with suppress(InputError), claimed(path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_a_sweep_is_locked_while_the_sweep_trains(
    labelled: Dataset, tmp_path: Path
) -> None:
    tried = []

    def report(progress: Any) -> None:
        if progress.text or tried:
            return
        for folder in ("sweep/a", "sweep"):
            with pytest.raises(InputError) as caught:
                trainer().fit(labelled, run_dir=tmp_path / folder)
            tried.append(str(caught.value))
        with pytest.raises(InputError, match=r"sweep/a is being trained in by process \d+"):
            ooc.resume(tmp_path / "sweep" / "a")

    rates = {"a": ooc.optim.sgd(0.1), "b": ooc.optim.sgd(0.2)}
    trainer().fit_many(labelled, rates, 2, tmp_path / "sweep", report)
    assert "already holds a run" in tried[0] and "is being trained in" in tried[1]
    assert ooc.load(tmp_path / "sweep" / "a").results["epochs"] == 2


LEFT = {
    "nothing": [],
    "a lock": ["lock"],
    "a history": ["lock", "history.jsonl"],
    "a folder": ["lock", "history.jsonl", "checkpoints/"],
    "half a checkpoint": ["lock", "checkpoints/step-000000000000.npz.partial"],
    "half of all": ["lock", "history.jsonl.partial", "checkpoints/step-000000000000.npz.partial"],
}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("left", "many"), pairs(LEFT, [False, True]))
def test_a_run_that_was_killed_early_can_be_begun_anew(
    labelled: Dataset, tmp_path: Path, left: str, many: bool
) -> None:
    run = tmp_path / "runs" / "a"
    for name in LEFT[left]:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (run / name).mkdir()
        else:
            (run / name).write_text('{"kind": "train", "step": 99, "rows": 1, "seconds": 1}\n')
    if LEFT[left]:
        with pytest.raises(
            InputError, match=r"nothing was saved yet.* give the command that began"
        ):
            ooc.resume(run)
    if many:
        trainer().fit_many(labelled, {"a": ooc.optim.sgd(0.1)}, 1, tmp_path / "runs")
    else:
        trainer().fit(labelled, 1, run)
    assert all(line["step"] <= 24 for line in read_history(run))
    assert not list(run.rglob("*.partial"))
    assert ooc.resume(run).results["steps"] == 24


@pytest.mark.slow
def test_a_run_that_is_killed_for_real_can_be_begun_anew(labelled: Dataset, tmp_path: Path) -> None:
    """The process ends in the middle of its first save."""
    code = (
        "import os, signal, sys, ooc\n"
        "from ooc.core import destination\n"
        "os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)\n"
        "trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), 64, memory='512MiB')\n"
        "trainer.fit(ooc.open(sys.argv[1]), 1, sys.argv[2])\n"
    )
    run = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", code, labelled.path, str(run)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -signal.SIGKILL
    assert list(run.rglob("*.partial"))
    assert main(["resume", str(run)]) == 2
    again = ["train", labelled.path, "--lr", "0.1", "--epochs", "1", "--memory", MEMORY]
    assert main([*again, "--run", str(run)]) == 0
    assert checkpoint.steps(run)[-1] == 6 and not list(run.rglob("*.partial"))


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", ["make", "predict", "shuffle"])
def test_everything_is_on_the_disk_before_it_gets_its_name(
    labelled: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    path, events = tmp_path / "new.zarr", list[tuple[str, str]]()
    call = written_again(path, labelled)[name]
    sync, rename = os.fsync, Path.rename

    def watched_sync(number: int) -> None:
        events.append(("sync", str(Path(f"/proc/self/fd/{number}").readlink())))
        sync(number)

    def watched_rename(self: Path, target: Path) -> Path:
        events.append(("rename", str(self)))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    call()
    partial = str(tmp_path / ".new.zarr.partial")
    named = events.index(("rename", partial))
    synced = {place for kind, place in events[:named] if kind == "sync"}
    for at, (kind, place) in enumerate(events):  # shards, which whoever goes on takes for whole
        assert kind == "sync" or place == partial or ("sync", place) in events[:at]
    everything = {str(each).replace(str(path), partial) for each in (path, *path.rglob("*"))}
    assert everything <= synced
    assert ("sync", str(tmp_path)) in events[named:]


def test_a_run_that_came_before_the_lock_was_had_is_kept(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process trained there while this one still looked at its data."""
    trainer().fit(labelled, 1, tmp_path / "other")
    run, take = tmp_path / "run", run_directory.take_lock

    def late(file: Path) -> int:
        shutil.copytree(tmp_path / "other" / "checkpoints", run / "checkpoints")
        return take(file)

    monkeypatch.setattr(run_directory, "take_lock", late)
    with pytest.raises(InputError, match="already holds a run"):
        trainer().fit(labelled, 1, run)
    assert checkpoint.steps(run) == checkpoint.steps(tmp_path / "other") != []
