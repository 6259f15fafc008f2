"""Keeps what a training run tells: progress after each window, results at the end."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ooc.checkpoint import parameters_sha256
from ooc.engines import Engine
from ooc.loader import Loader
from ooc.metrics import Progress, Report
from ooc.process import age_seconds, peak_bytes
from ooc.reader import Window


class Recorder:
    """Follows an engine through the windows of a run.

    Attributes
    ----------
    history
        One entry a window, JSON-ready.
    """

    def __init__(self, engine: Engine, loader: Loader, epochs: int, report: Report) -> None:
        self.history: list[dict[str, Any]] = []
        self._engine, self._loader, self._epochs, self._report = engine, loader, epochs, report
        self._begun = time.perf_counter()
        self._waited = 0.0
        self._first_batch = 0.0
        self._before = (0, 0.0)
        self._epoch_start = (0, 0.0)
        self._loss = 0.0

    def begin_window(self, window: Window) -> None:
        """Note how long the window kept the engine waiting."""
        self._waited += window.wait_seconds
        self._first_batch = self._first_batch or age_seconds()

    def end_window(self, window: Window) -> None:
        """Note and report what the window's steps did."""
        engine, plan = self._engine, self._loader.plan
        now = (engine.rows, engine.loss_sum)
        progress = Progress(
            rows=engine.rows,
            total_rows=self._epochs * plan.order.epoch_rows,
            bytes=engine.rows * plan.row_bytes,
            seconds=time.perf_counter() - self._begun,
            wait_seconds=self._waited,
            memory_budget_bytes=plan.budget,
            step=engine.step,
            epoch=window.epoch,
            loss=_mean(self._before, now),
        )
        self._loss = _mean(self._epoch_start, now) or 0.0
        self._before = now
        if window.last:
            self._epoch_start = now
        self.history.append(asdict(progress))
        self._report(progress)

    def results(self) -> Mapping[str, Any]:
        """Return the run's numbers under the keys of the command line's JSON.

        The loss is the mean over the last epoch, each row's taken before it was learned from.
        """
        engine, plan = self._engine, self._loader.plan
        seconds = time.perf_counter() - self._begun
        return {
            "rows": engine.rows,
            "steps": engine.step,
            "epochs": self._loader.epoch,
            "seconds": seconds,
            "rows_per_second": engine.rows / seconds,
            "bytes_per_second": engine.rows * plan.row_bytes / seconds,
            "loss": self._loss,
            "memory_budget_bytes": plan.budget,
            "memory_projected_bytes": plan.projected,
            "memory_peak_bytes": peak_bytes(),
            "wait_seconds": self._waited,
            "seconds_to_first_batch": self._first_batch,
            "window_rows": plan.order.window_rows,
            "block_rows": plan.order.block_rows,
            "blocks_per_window": plan.order.blocks_per_window,
            "skipped_chunks": self._loader.skipped_chunks,
            "skipped_rows": self._loader.skipped_rows,
            "read_retries": self._loader.retries,
            "parameters_sha256": parameters_sha256(engine.parameters),
        }


def _mean(before: tuple[int, float], now: tuple[int, float]) -> float | None:
    rows = now[0] - before[0]
    return (now[1] - before[1]) / rows if rows else None
