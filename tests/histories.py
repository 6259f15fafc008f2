"""Run folders with histories as training writes them, made up but of realistic shape."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

GIB = 2**30


def history_lines(
    lines: int = 200,
    rate: float = 0.1,
    batch_size: int = 256,
    seed: int = 0,
    noise: bool = False,
    kill_at: int | None = None,
    budget: int = GIB,
    range_test: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield a run's lines: a window each, a validation and a checkpoint now and then.

    With `kill_at`, the run is killed at that line and taken up at the checkpoint before.
    """
    random = np.random.default_rng(seed)
    steps, row_bytes = 280, 516
    seconds, waited, line, saved = 0.4, 0.2, 0, (0, 0.4, 0.2)
    best = np.inf
    if range_test:
        trials = [[rate / 4, 0.5], [rate, 0.4], [4 * rate, np.inf]]
        yield {"kind": "range_test", "step": 0, "seconds": 0.0, "rate": rate, "trials": trials}
    while line < lines:
        line += 1
        took = 0.022 * (1 + 0.2 * random.random() + 2.0 * (random.random() < 0.03))
        seconds, waited = seconds + took, waited + took * (0.1 + 0.3 * random.random())
        step = line * steps
        progress = line / lines
        own = rate * 0.5 * (1 + np.cos(np.pi * progress))
        floor = 0.36 + 0.05 * np.log10(max(rate, 1e-3) / 0.03) ** 2
        loss = floor + 0.33 / (1 + 20 * rate * line) + 0.004 * random.standard_normal()
        rows = step * batch_size
        entry = {
            "kind": "train",
            "step": step,
            "epoch": int(4 * progress),
            "rows": rows,
            "bytes": rows * row_bytes,
            "seconds": seconds,
            "wait_seconds": waited,
            "loss": loss,
            "learning_rate": own,
            "memory_bytes": int(0.44 * budget + 2e6 * random.random() + 4e7 * min(1, line / 9)),
            "memory_budget_bytes": budget,
        }
        if noise:
            scale = 50 * (1 + 40 * progress) * np.exp(0.2 * random.standard_normal())
            entry |= {"noise_scale": scale, "noise_scale_low": scale / 1.6}
            entry |= {"noise_scale_high": scale * 1.7, "batch_size": batch_size}
            heat = own / (2 * batch_size) * np.exp(0.1 * random.standard_normal())
            entry |= {"temperature": heat, "temperature_low": heat / 1.2}
            entry |= {"temperature_high": heat * 1.2}
        yield entry
        where = {"step": step, "epoch": entry["epoch"], "rows": rows, "seconds": seconds}
        if line % 25 == 0:
            measured = loss + 0.004
            metrics = {"loss": measured, "accuracy": 0.9 - measured / 6, "auc": 0.97 - measured / 5}
            yield {"kind": "validation", **where, **metrics, "best": bool(measured < best)}
            best = min(best, measured)
        if line % 50 == 0:
            saved = (line, seconds, waited)
            yield {"kind": "checkpoint", "step": step, "seconds": seconds, "save_seconds": 0.012}
        if line == kill_at:
            kill_at = None
            line, seconds, waited = saved
            yield {"kind": "resume", "step": line * steps, "seconds": seconds}


def description(rate: float = 0.1, batch_size: int = 256, **changes: Any) -> dict[str, Any]:
    """Return what a run's run.json holds, in the parts that a report reads."""
    whole = {
        "model": {"name": "logistic", "intercept": True, "scale": 1.0},
        "optimizer": {
            "name": "adam",
            "code": 2,
            "rate": rate,
            "constants": [0.9, 0.999, 1e-8],
            "l2": 1e-4,
            "l1": 0.0,
            "clip_norm": None,
            "schedule": {"name": "cosine", "code": 3, "constants": [5e4, 0.0], "warmup": 500},
        },
        "dataset": {"path": "clicks.zarr", "features": "X"},
        "plan": {"batch_size": batch_size, "seed": 0},
        "results": {
            "steps": 56_000,
            "loss": 0.36 + rate / 100,
            "memory_budget_bytes": GIB,
            "memory_peak_bytes": int(0.49 * GIB),
            "parameters_sha256": "ca81869f58ee1389fb0a466f095089c1",
        },
    }
    return whole | changes


def evaluation(labels: bool = True) -> dict[str, Any]:
    """Return what an evaluation of two classes measured, or one of numbers."""
    if not labels:
        quantiles = {"0.05": -1.5, "0.5": 0.125, "0.95": 1.25}
        bars = {"edges": [-2.0, 0.0, 1.0], "weight": [30.0, 70.0]}
        return {
            "r2": 0.75,
            "mean_absolute_error": 0.5,
            "residuals": {"quantiles": quantiles} | bars,
        }
    shares = {"precision": [0.9, 0.8125], "recall": [0.75, None], "f1": [0.818, None]}
    return {
        "accuracy": 0.875,
        "auc": 0.9375,
        "confusion_matrix": [[60, 20], [5, 75]],
        "per_class": {**shares, "weight": [80, 80]},
        "calibration": {"predicted": [0.1, 0.9], "observed": [0.2, 0.85], "weight": [70.0, 90.0]},
        "calibration_error": 0.0719,
    }


def write_run(run_dir: Path, described: Mapping[str, Any] | None = None, **settings: Any) -> Path:
    """Write a run's folder; `settings` are those of `history_lines`."""
    run_dir.mkdir(parents=True)
    lines = [json.dumps(line) + "\n" for line in history_lines(**settings)]
    (run_dir / "history.jsonl").write_text("".join(lines))
    named = {key: settings[key] for key in ("rate", "batch_size") if key in settings}
    whole = description(**named) if described is None else described
    (run_dir / "run.json").write_text(json.dumps(whole))
    return run_dir
