"""One pass of Vowpal Wabbit over its cache, in the order of the store.

With the setting ``build=yes`` the cache is built instead: the rows are piped as text to Vowpal
Wabbit, which writes the cache. That is not part of the epoch, and its time counts for nothing.

With ``snapshots=yes`` the cache has marks between rows: examples with a tag that has Vowpal Wabbit
save its model. The models' files tell by their times when they were saved.
"""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np
from peers import harness
from peers.store import arrays_of
from vowpalwabbit import Workspace

# Vowpal Wabbit's own number for the feature that is always 1.
INTERCEPT = 11650396
TEXT_CHUNKS = 16
MOST_VALUE_BYTES = 48
MARK = "model-after-"
DECIMALS = 8


def prepare(job: harness.Job) -> harness.Train:
    """Build the cache if asked to; otherwise return the pass over it."""
    cache = Path(job.settings["cache"])
    if job.snapshots.wanted:
        # It saves in the folder that it runs in, also when it only makes its cache.
        os.chdir(tempfile.mkdtemp())
    if job.settings.get("build") == "yes":
        _build(job, cache)
        _remove_saved(job)
        return lambda: harness.Trained([0.0] * job.features, 0.0, job.rows_to_use)
    # Plain steps, one a row, of a constant size: no slower than the adaptive ones of the default,
    # and with a lower loss at the end of an epoch.
    rate = job.learning_rate / job.batch_size
    steps = ["--sgd", "--learning_rate", f"{rate:.9f}", "--power_t", "0"]
    if "options" in job.settings:
        steps = job.settings["options"].split()
    limit, marks = [], 0
    if job.rows_to_use < job.rows:
        marks = len(_marks(job.rows_to_use)) if job.snapshots.wanted else 0
        limit = ["--examples", str(job.rows_to_use + marks)]

    def train() -> harness.Trained:
        begun = time.time()
        workspace = Workspace(arg_list=[*_options(cache), *steps, *limit, "--passes", "1"])
        parameters = _parameters(workspace, job.features)
        rows = round(workspace.get_weighted_examples())
        workspace.finish()
        if job.snapshots.wanted:
            _note_saved(job, begun)
        return harness.Trained(parameters[:-1], parameters[-1], rows)

    return train


def _parameters(workspace: Workspace, features: int) -> list[float]:
    names = [*range(features), INTERCEPT % workspace.num_weights()]
    return [workspace.get_weight(name) for name in names]


def _note_saved(job: harness.Job, begun: float) -> None:
    """Read the models that were saved on the way."""
    folder = Path.cwd()
    for file in sorted(folder.glob(f"{MARK}*"), key=lambda file: int(file.name[len(MARK) :])):
        saved = Workspace(arg_list=["--quiet", "--initial_regressor", str(file)])
        parameters = _parameters(saved, job.features)
        saved.finish()
        rows = int(file.name[len(MARK) :])
        job.snapshots.note(rows, parameters, file.stat().st_mtime - begun)
    _remove_saved(job)


def _remove_saved(job: harness.Job) -> None:
    if job.snapshots.wanted:
        folder = Path.cwd()
        os.chdir(folder.parent)
        shutil.rmtree(folder)


def _marks(rows: int) -> list[int]:
    """Return the rows after which a model is saved."""
    marks = [harness.FIRST_SNAPSHOT]
    while marks[-1] < rows:
        marks.append(harness.after(marks[-1]))
    return marks[:-1]


def _options(cache: Path) -> list[str]:
    return ["--quiet", "--loss_function", "logistic", "--cache_file", str(cache)]


def _build(job: harness.Job, cache: Path) -> None:
    partial = cache.with_name(f"{cache.name}.partial")
    partial.unlink(missing_ok=True)
    command = [sys.executable, "-m", "vowpalwabbit", *_options(partial)]
    command += ["--noop", "--data", "/dev/stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as maker:
        assert maker.stdin is not None
        try:
            for text in _texts(job):
                maker.stdin.write(text)
        except BrokenPipeError:
            pass  # its own message and status say more
    if maker.returncode:
        raise SystemExit(f"Vowpal Wabbit ended with status {maker.returncode}")
    partial.rename(cache)


def _texts(job: harness.Job) -> Iterator[memoryview]:
    features, targets = arrays_of(job.store)
    slice_rows = TEXT_CHUNKS * features.chunks[0]
    text = np.empty(slice_rows * (job.features + 1) * MOST_VALUE_BYTES, np.uint8)
    rows = min(job.rows_to_use, job.rows)
    marks = _marks(rows) if job.snapshots.wanted else []
    for start in range(0, rows, slice_rows):
        stop = min(start + slice_rows, rows)
        within = [mark for mark in marks if start < mark <= stop]
        for first, last in itertools.pairwise([start, *within, stop]):
            x, y = np.asarray(features[first:last]), np.asarray(targets[first:last])
            yield text[: write_rows(x, y, text)].data
            if last in within:
                yield memoryview(f"'save_{MARK}{last} |\n".encode())


@numba.njit(cache=True)
def write_rows(features: np.ndarray, targets: np.ndarray, text: np.ndarray) -> int:
    """Write rows as Vowpal Wabbit's text; return the bytes written.

    A row is ``1 | 0:0.5 1:-0.25`` or begins with -1. Eight decimals are exact for features on a
    grid of 1/256. The caller's buffer must hold the longest text.
    """
    place = 0
    for row in range(features.shape[0]):
        if targets[row] == 0:
            text[place] = 45  # "-"
            place += 1
        text[place], text[place + 1], text[place + 2] = 49, 32, 124  # "1 |"
        place += 3
        for column in range(features.shape[1]):
            text[place] = 32  # " "
            place = _write_whole(column, text, place + 1)
            text[place] = 58  # ":"
            place = _write_value(features[row, column], text, place + 1)
        text[place] = 10
        place += 1
    return place


@numba.njit(cache=True)
def _write_value(value: float, text: np.ndarray, place: int) -> int:
    scaled = np.int64(round(abs(np.float64(value)) * 10**DECIMALS))
    if value < 0:
        text[place] = 45  # "-"
        place += 1
    place = _write_whole(scaled // 10**DECIMALS, text, place)
    rest = scaled % 10**DECIMALS
    if rest:
        text[place] = 46  # "."
        place += 1
        unit = 10 ** (DECIMALS - 1)
        while rest:
            text[place] = 48 + rest // unit
            rest %= unit
            unit //= 10
            place += 1
    return place


@numba.njit(cache=True)
def _write_whole(number: int, text: np.ndarray, place: int) -> int:
    unit = 1
    while number // unit >= 10:
        unit *= 10
    while unit:
        text[place] = 48 + number // unit % 10
        unit //= 10
        place += 1
    return place


if __name__ == "__main__":
    harness.main(prepare, ["vowpalwabbit"])
