"""Histories: what their lines say, what a kill leaves of them, and how much memory they take."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from histories import history_lines, write_run

from ooc.core.errors import InputError
from ooc.report.history import History, read_history

ROOT = Path(__file__).resolve().parents[2]


def written(folder: Path, lines: Iterable[Any], end: str = "") -> History:
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "history.jsonl").write_text("".join(line + "\n" for line in text) + end)
    return read_history(folder)


def train(step: int, seconds: float, **more: Any) -> dict[str, Any]:
    rows = 10 * step
    done = {"rows": rows, "bytes": 8 * rows, "seconds": seconds, "wait_seconds": seconds / 4}
    return {"kind": "train", "step": step, "epoch": 0, **done, **more}


def test_what_the_lines_say(tmp_path: Path) -> None:
    history = written(
        tmp_path,
        [
            train(100, 2.0, loss=0.5, learning_rate=0.1, memory_bytes=50, memory_budget_bytes=90),
            {"kind": "validation", "step": 100, "seconds": 2.0, "loss": 0.6, "accuracy": None},
            {"kind": "checkpoint", "step": 100, "seconds": 2.0, "save_seconds": 0.5},
            {"kind": "a kind of later", "step": 100},
            train(300, 3.0, loss=0.4, learning_rate=0.2, memory_bytes=70, memory_budget_bytes=90),
            {"kind": "validation", "step": 300, "seconds": 3.0, "loss": 0.7, "auc": 0.9},
        ],
    )
    curves = {name: curve.mean.tolist() for name, curve in history.curves.items()}
    assert curves == {
        "loss": [0.5, 0.4],
        "learning_rate": [0.1, 0.2],
        "memory_bytes": [50, 70],
        "rows_per_second": [500, 2000],
        "bytes_per_second": [4000, 16000],
        "waiting_share": [0.25, 0.25],
    }
    assert {name: curve.mean.tolist() for name, curve in history.validation.items()} == {
        "loss": [0.6, 0.7],
        "auc": [0.9],
    }
    assert history.best_validation == (0.6, 100)
    assert (history.last_loss, history.end.step, history.end.rows) == (0.4, 300, 3000)
    assert (history.memory_peak_bytes, history.memory_budget_bytes) == (70, 90)
    assert history.checkpoints == [(100, 2.0)]
    assert history.save_seconds == 0.5
    assert history.counts == {"train": 2, "validation": 2, "checkpoint": 1}


def test_what_is_put_together_is_weighted_by_rows_and_by_seconds(tmp_path: Path) -> None:
    """Of lines of 1000 and 3000 rows, and of 2 seconds and 1."""
    lines = [train(100, 2.0, loss=0.5, learning_rate=0.1), train(400, 3.0, loss=0.9)]
    lines[1]["learning_rate"] = 0.3
    written(tmp_path, lines)
    history = read_history(tmp_path, points=1)
    means = {name: curve.mean.tolist() for name, curve in history.curves.items()}
    assert means["loss"] == [pytest.approx((0.5 * 1000 + 0.9 * 3000) / 4000)]
    assert means["learning_rate"] == [pytest.approx(0.2)]
    # Rates have points of their own, ten at least.
    assert means["rows_per_second"] == [500, 3000]
    many = [train(100 * i, i if i < 11 else 20.0, loss=0.5) for i in range(1, 12)]
    written(tmp_path, many)
    rates = read_history(tmp_path, points=1).curves["rows_per_second"].mean
    assert len(rates) == 6 and rates[-1] == pytest.approx(1000 / 10)
    assert rates[-2] == pytest.approx(1000)
    many = [train(100 * i, i + (i // 2), loss=0.5) for i in range(1, 151)]
    written(tmp_path, many)
    curves = read_history(tmp_path, points=150).curves
    # An eighth as many: sixteen lines at a time.
    assert (len(curves["loss"]), len(curves["rows_per_second"])) == (150, 10)
    assert curves["rows_per_second"].mean[0] == pytest.approx(16000 / 24)


def test_more_is_kept(tmp_path: Path) -> None:
    """The most memory of any line, the first of the best steps, first and last batch sizes."""
    lines = [
        train(1, 1.0, loss=0.5, memory_bytes=70, batch_size=16),
        {"kind": "validation", "step": 1, "seconds": 1.0, "loss": 0.5, "auc": True, "best": True},
        train(2, 2.0, loss=0.5, memory_bytes=50, batch_size=32),
        {"kind": "validation", "step": 2, "seconds": 2.0, "loss": 0.5, "rows": 7, "epoch": 1},
        train(3, 3.0, loss=0.5, batch_size=64),
        {"kind": "checkpoint", "step": 3, "seconds": 3.0, "save_seconds": 0.25},
        {"kind": "checkpoint", "step": 3, "seconds": 3.0, "save_seconds": 0.5},
        {"kind": "checkpoint", "step": 3, "seconds": 3.0, "save_seconds": None},
    ]
    history = written(tmp_path, lines)
    assert history.memory_peak_bytes == 70
    assert history.best_validation == (0.5, 1)
    assert history.batch_sizes == (16, 64)
    assert list(history.validation) == ["loss"]
    assert history.save_seconds == 0.75 and len(history.checkpoints) == 3


def test_a_range_test_is_its_rates_in_order(tmp_path: Path) -> None:
    def tested(rate: Any, trials: Any) -> Any:
        line = {"kind": "range_test", "step": 0, "seconds": 0.0, "rate": rate, "trials": trials}
        return written(tmp_path, [line, train(1, 1.0, loss=0.5)]).range_test

    odd = [[1.0, 0.5], [0.1, 0.25], [0.0, 0.1], [2.0, float("nan")], [3.0], "x", [True, 0.1]]
    odd += [[4.0, float("inf")]]
    assert tested(0.1, odd) == (0.1, [(0.1, 0.25), (1.0, 0.5), (4.0, float("inf"))])
    assert tested(0.0, odd) is None and tested(0.1, []) is None and tested(0.1, 7) is None
    many = [[rate, 0.5] for rate in range(1, 200)]
    assert len(tested(0.1, many)[1]) == 100


def test_a_step_that_is_told_twice_is_no_way_back(tmp_path: Path) -> None:
    history = written(tmp_path, [train(1, 1.0, loss=0.5), train(1, 2.0, loss=0.25)])
    assert history.curves["loss"].mean.tolist() == [0.5, 0.25]


def test_marks_are_thinned_when_there_are_too_many(tmp_path: Path) -> None:
    lines: list[Any] = [train(1, 1.0, loss=0.5)]
    lines += [{"kind": "checkpoint", "step": step, "seconds": 1.0} for step in range(400)]
    assert len(written(tmp_path, lines).checkpoints) == 400
    lines += [{"kind": "checkpoint", "step": 400, "seconds": 1.0}]
    marks = written(tmp_path, lines).checkpoints
    assert marks == [(step, 1.0) for step in range(0, 401, 2)]


def test_intervals_and_batch_sizes(tmp_path: Path) -> None:
    noise = {"noise_scale": 50.0, "noise_scale_low": 40.0, "noise_scale_high": 70.0}
    lines = [train(1, 1.0, batch_size=16, **noise), train(2, 2.0, batch_size=32, temperature=1e-3)]
    history = written(tmp_path, lines)
    scale, heat = history.curves["noise_scale"], history.curves["temperature"]
    assert (scale.low[0], scale.mean[0], scale.high[0]) == (40.0, 50.0, 70.0)
    assert heat.low[0] == heat.high[0] == 1e-3
    assert history.batch_sizes == (16, 32)


def test_any_place_where_a_kill_cuts_the_last_line(tmp_path: Path) -> None:
    whole = json.dumps(train(2, 2.0, loss=0.25))
    for cut in range(len(whole)):
        history = written(tmp_path, [train(1, 1.0, loss=0.5)], end=whole[:cut])
        assert history.last_loss == 0.5
        assert history.counts == {"train": 1}
    assert written(tmp_path, [train(1, 1.0, loss=0.5)], end=whole).last_loss == 0.25


def test_lines_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    bad = ["{", "[1]", '"text"', '{"kind": "train"}', '{"kind":"train","step":true,"seconds":1}']
    bad += ["[" * 100_000, '{"kind": "train", "step": 1' + "0" * 400 + ', "seconds": 1}']
    lines = [train(1, 1.0, loss=0.5), *bad, '{"kind": []}', "", "null", train(2, 2.0, loss=0.25)]
    history = written(tmp_path, lines)
    assert history.counts == {"train": 2, "damaged": len(bad) + 1}
    assert history.curves["rows_per_second"].mean.tolist() == [10, 10]


def test_a_loss_that_is_not_finite_is_told(tmp_path: Path) -> None:
    losses = [0.5, float("nan"), 0.4, None]
    history = written(tmp_path, [train(i + 1, i + 1.0, loss=loss) for i, loss in enumerate(losses)])
    assert history.dropped == {"loss": 1}
    np.testing.assert_array_equal(history.curves["loss"].mean, [0.5, np.nan, 0.4])


def test_a_resume_begins_a_new_part_and_counts_from_the_save(tmp_path: Path) -> None:
    history = written(
        tmp_path,
        [
            train(100, 1.0, loss=0.9),
            train(200, 2.0, loss=0.8),
            {"kind": "checkpoint", "step": 250, "seconds": 2.5, "save_seconds": 0.1},
            train(300, 3.0, loss=0.7),
            train(400, 4.0, loss=0.6),
            {"kind": "resume", "step": 250, "seconds": 2.5},
            train(300, 2.8, loss=0.7),
        ],
    )
    loss, speed = history.curves["loss"], history.curves["rows_per_second"]
    np.testing.assert_array_equal(loss.steps, [100, 200, 300, 400, np.nan, 300])
    # From step 200 at second 2: 1000 rows in 0.8 seconds.
    np.testing.assert_allclose(speed.mean, [1000, 1000, 1000, 1000, np.nan, 1250])
    assert history.resumes == [(250, 2.5)]
    assert history.end.step == 300


def test_a_resume_at_a_line_counts_from_that_line(tmp_path: Path) -> None:
    history = written(
        tmp_path,
        [
            train(100, 1.0, loss=0.9),
            train(200, 2.0, loss=0.8),
            {"kind": "checkpoint", "step": 200, "seconds": 2.0, "save_seconds": 0.1},
            train(300, 3.0, loss=0.7),
            {"kind": "resume", "step": 200, "seconds": 2.0},
            train(300, 2.5, loss=0.7),
        ],
    )
    speed = history.curves["rows_per_second"]
    np.testing.assert_allclose(speed.mean, [1000, 1000, 1000, np.nan, 2000])


def test_going_back_without_a_word_makes_no_rates_up(tmp_path: Path) -> None:
    lines = [train(100, 1.0, loss=0.9), train(400, 4.0, loss=0.6), train(300, 5.0, loss=0.7)]
    history = written(tmp_path, lines)
    np.testing.assert_array_equal(history.curves["loss"].steps, [100, 400, np.nan, 300])
    assert len(history.curves["rows_per_second"]) == 2


@pytest.mark.parametrize("kill_at", [60, 130, 149])
def test_a_run_that_was_killed_ends_where_one_that_was_not_does(
    tmp_path: Path, kill_at: int
) -> None:
    killed = read_history(write_run(tmp_path / "killed", kill_at=kill_at))
    whole = read_history(write_run(tmp_path / "whole"))
    assert killed.counts["resume"] == 1
    assert (killed.end.step, killed.end.rows) == (whole.end.step, whole.end.rows)
    speed, usual = killed.curves["rows_per_second"], whole.curves["rows_per_second"]
    assert np.nanmax(speed.high) <= 1.01 * np.nanmax(usual.high)
    assert np.nanmin(speed.low) > 0


@pytest.mark.slow
def test_memory_does_not_grow_with_the_history(tmp_path: Path) -> None:
    lines = [json.dumps(line) + "\n" for line in history_lines(400, noise=True)]
    for times in (1, 8):
        path = tmp_path / str(times)
        path.mkdir()
        with (path / "history.jsonl").open("w") as stream:
            stream.writelines(lines * times)
    code = (
        "import tracemalloc\n"
        "from pathlib import Path\n"
        "from ooc.report.history import read_history\n"
        "for name in ('1', '1', '8'):\n"  # the first time something stays that is made once
        "    tracemalloc.start()\n"
        f"    read_history(Path({str(tmp_path)!r}, name))\n"
        "    print(tracemalloc.get_traced_memory()[1])\n"
        "    tracemalloc.stop()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    _, small, large = map(int, done.stdout.split())
    assert large < 1.3 * small + 2e5


def test_marks_and_metrics_are_bounded(tmp_path: Path) -> None:
    metrics = {f"metric {i}": 1.0 for i in range(50)}
    lines: list[Any] = [train(1, 1.0, loss=0.5)]
    lines += [{"kind": "checkpoint", "step": step, "seconds": 1.0} for step in range(3000)]
    lines += [{"kind": "validation", "step": 1, "seconds": 1.0, **metrics, "loss": 0.5}]
    history = written(tmp_path, lines)
    assert len(history.checkpoints) <= 400
    assert history.counts["checkpoint"] == 3000
    assert len(history.validation) == 8
    assert "loss" in history.validation


def test_folders_that_hold_no_history_are_named(tmp_path: Path) -> None:
    cases = {"does not exist": tmp_path / "none", "holds no history.jsonl": tmp_path / "empty"}
    cases["empty"] = tmp_path / "empty"
    cases["no training line yet (0 lines"] = tmp_path / "begun"
    cases["no training line yet (1 lines"] = tmp_path / "binary"
    cases[f"ooc report {tmp_path / 'sweep'}/*"] = tmp_path / "sweep"
    (tmp_path / "empty").mkdir()
    (tmp_path / "sweep").mkdir()
    write_run(tmp_path / "sweep" / "a", lines=1)
    for name, content in (("begun", b""), ("binary", b"\x00\xff\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "history.jsonl").write_bytes(content)
    for message, folder in cases.items():
        with pytest.raises(InputError) as caught:
            read_history(folder)
        assert message in str(caught.value)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)
