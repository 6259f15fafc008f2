"""Draws progress on standard error: a live bar on a terminal, elsewhere a line now and then."""

import sys
import threading
import time

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from ooc.core.process import resident_bytes
from ooc.core.progress import Progress
from ooc.core.sizes import format_size
from ooc.core.terminal import printable, say

LINE_SECONDS = 5.0


class ProgressDisplay:
    """A report function for long work; a context manager. It is live on a terminal by default."""

    def __init__(self, title: str, live: bool | None = None) -> None:
        self._title = printable(title)
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._live = terminal if live is None else live
        self._lock, self._last_line = threading.Lock(), time.monotonic()
        self._before: Progress | None = None
        self._stage = ""
        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[text]}", markup=False),
            console=Console(stderr=True, markup=False, emoji=False),
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "ProgressDisplay":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show where the work stands; threads may call it at the same time."""
        with self._lock:
            waiting = self._waits_for(progress)
            text = printable(progress.text or describe(progress, waiting))
            if self._live:
                if self._task is not None and progress.text != self._stage:
                    self._bar.remove_task(self._task)
                    self._task = None
                self._stage = progress.text
                if self._task is None:
                    self._task = self._bar.add_task(self._title, total=progress.total_rows, text="")
                self._bar.update(self._task, completed=progress.rows, text=text)
            elif progress.text and progress.text != self._stage:
                # What is about to take seconds is said before it begins.
                self._stage, self._last_line = progress.text, time.monotonic()
                say(f"{self._title}: {text}")
            elif time.monotonic() - self._last_line >= LINE_SECONDS:
                self._last_line = time.monotonic()
                percent = 100 * progress.rows / progress.total_rows
                say(f"{self._title}: {percent:.0f}%  {text}")

    def _waits_for(self, progress: Progress) -> str:
        """Tell disk from compute by the time since the report before."""
        before, self._before = self._before, progress
        if before is None or progress.step == 0:
            return ""
        waited = progress.wait_seconds - before.wait_seconds
        passed = progress.seconds - before.seconds
        return "disk" if 2 * waited > passed else "compute"


def describe(progress: Progress, waiting: str) -> str:
    """Say in one line where the work stands.

    Examples
    --------
    >>> describe(Progress(500, 1000, 10**9, 2.0, loss=0.25, step=5), "disk")
    '250 rows/s  0.50 GB/s  loss 0.2500  waits for disk  0:00:02 left'
    """
    parts, rate = [], 0.0
    if progress.seconds > 0 and progress.rows > 0:
        rate = progress.rows / progress.seconds
        parts += [f"{rate:,.0f} rows/s", f"{progress.bytes / progress.seconds / 1e9:.2f} GB/s"]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4f}")
    if progress.memory_budget_bytes:
        budget = format_size(progress.memory_budget_bytes)
        parts.append(f"memory {format_size(resident_bytes())} of {budget}")
    if waiting:
        parts.append(f"waits for {waiting}")
    if rate:
        left = int((progress.total_rows - progress.rows) / rate)
        parts.append(f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left")
    return "  ".join(parts)
