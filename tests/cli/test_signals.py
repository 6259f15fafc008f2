"""Signals that ask to end, at every stage: a status, a line, and nothing half-begun."""

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from datasets import write_dataset

from ooc.cli.training import stopping_signals
from ooc.core.stopping import ASKING, Interrupted, Stop, hush, interrupt, listen, status_of, told


@pytest.mark.parametrize("number", ASKING)
def test_a_signal_is_raised_and_named(number: signal.Signals) -> None:
    ignored = signal.signal(number, signal.SIG_DFL)  # whatever began these tests may ignore it
    before = {**listen(interrupt), int(number): ignored}
    try:
        with pytest.raises(Interrupted) as caught:
            os.kill(os.getpid(), number)
            time.sleep(5)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]
    assert status_of(caught.value) == 128 + number
    assert told(caught.value) == f"ooc: ended by {number.name}"


def test_a_signal_that_meets_a_callback_of_c_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", hush)
    before = listen(interrupt)
    try:
        with pytest.raises(Interrupted) as caught:
            ctypes.CFUNCTYPE(None)(lambda: interrupt(signal.SIGTERM, None))()
            time.sleep(5)
        assert status_of(caught.value) == 128 + signal.SIGTERM
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        heard = listen(interrupt)
        assert signal.SIGHUP not in heard
        for number, handler in heard.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_plain_interrupt_is_one_of_the_keyboard() -> None:
    assert status_of(KeyboardInterrupt()) == 130
    assert told(KeyboardInterrupt()) == "ooc: ended by SIGINT"
    assert not Stop().in_steps


def test_a_signal_ends_at_once_until_there_is_something_to_save() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as raised, stopping_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert status_of(raised.value) == 143
    with pytest.raises(typer.Exit) as ended, stopping_signals() as stop:
        stop.in_steps = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
    assert ended.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def begun(folder: Path) -> subprocess.Popen[str]:
    """Start a training whose kernels are still to be compiled."""
    command = [sys.executable, "-m", "ooc", "train", "a.zarr", "--epochs", "100000", "--run", "run"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def importing(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until NumPy's code is mapped: signals are heard before anything heavy is imported."""
    maps = Path(f"/proc/{process.pid}/maps")
    while "_multiarray_umath" not in maps.read_text():
        assert process.poll() is None
        time.sleep(0.001)


def compiling(folder: Path, process: subprocess.Popen[str]) -> None:
    while not list(folder.glob("cache/**/*.nbc")):
        assert process.poll() is None
        time.sleep(0.01)


def training(folder: Path, process: subprocess.Popen[str]) -> None:
    while not (folder / "run" / "run.json").exists():
        assert process.poll() is None
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "number"),
    [
        *itertools.product([importing, compiling], ASKING),
        (training, signal.SIGHUP),
        (training, signal.SIGUSR1),
    ],
)
def test_a_process_ends_at_every_stage(
    tmp_path: Path,
    stage: Callable[[Path, subprocess.Popen[str]], None],
    number: signal.Signals,
) -> None:
    x = np.random.default_rng(0).standard_normal((20_000, 8)).astype(np.float32)
    write_dataset(tmp_path / "a.zarr", chunk_rows=500, X=x, y=(x[:, 0] > 0).astype(np.int64))
    process = begun(tmp_path)
    try:
        stage(tmp_path, process)
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + number, told
    assert "Traceback" not in told
    if stage is training:
        assert (tmp_path / "run" / "checkpoints").exists()
    else:
        assert told.splitlines()[-1] == f"ooc: ended by {number.name}"
        assert not (tmp_path / "run").exists()
