"""Draws progress on standard error: a live bar on a terminal, elsewhere a line now and then."""

import sys
import threading
import time

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from ooc.core.process import resident_bytes
from ooc.core.progress import Progress, TimeLeft, format_seconds
from ooc.core.sizes import format_size
from ooc.core.terminal import printable, say

LINE_SECONDS = 5.0
# A bar is drawn anew ten times a second.
DRAW_SECONDS = 0.1
# Without a terminal, what goes on is told where nothing else was for so long.
SILENT_SECONDS = 1.0
# Held by the display that is on: work inside of other work has none of its own.
ON_SCREEN = threading.Lock()


class ProgressDisplay:
    """A report function for long work; a context manager. It is live on a terminal by default."""

    def __init__(self, title: str, live: bool | None = None) -> None:
        self._title = printable(title)
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._live = terminal if live is None else live
        self._lock, self._last_line = threading.Lock(), time.monotonic()
        self._last_drawn = 0.0
        self._before: Progress | None = None
        self._time_left = TimeLeft()
        # What goes on beside the work itself, and whether a line has told it.
        self._stage, self._is_told = "starting", False
        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            console=Console(stderr=True, markup=False, emoji=False),
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._is_first = False
        self._ended = threading.Event()

    def __enter__(self) -> "ProgressDisplay":
        self._is_first = ON_SCREEN.acquire(blocking=False)
        if self._live:
            self._draw(Progress(0, 1, 0, 0.0, text=self._stage), self._stage)
        else:
            threading.Thread(target=self._break_silence, daemon=True).start()
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._is_first:
            ON_SCREEN.release()
        with self._lock:  # a line that is under way comes before what is said next
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show where the work stands; threads may call it at the same time."""
        with self._lock:
            is_new, self._stage = progress.text != self._stage, progress.text
            self._is_told &= not is_new
            text = progress.text
            if not progress.text:
                waiting, left = self._waits_for(progress), self._time_left.after(progress)
                if not (is_new or self._is_due(progress)):
                    return
                text = describe(progress, waiting, left)
            in_pieces = not progress.text or progress.total_rows > 1
            if in_pieces:
                text = f"{100 * progress.rows / max(progress.total_rows, 1):3.0f}%  {text}"
            if self._live:
                if is_new and self._task is not None:
                    self._bar.remove_task(self._task)
                    self._task = None
                self._draw(progress, text)
            elif progress.text and is_new and in_pieces and progress.rows == 0:
                # What is about to take seconds is said before it begins.
                self._say(progress.text)
            elif time.monotonic() - self._last_line >= LINE_SECONDS:
                self._say(text.strip())

    def _is_due(self, progress: Progress) -> bool:
        """Tell whether anything would be shown: reports may come by thousands a second."""
        if self._live:
            is_last = progress.rows >= progress.total_rows
            return is_last or time.monotonic() - self._last_drawn >= DRAW_SECONDS
        return time.monotonic() - self._last_line >= LINE_SECONDS

    def _draw(self, progress: Progress, text: str) -> None:
        """Show the bar; that of a single piece tells that something goes on."""
        self._last_drawn = time.monotonic()
        if self._task is None:
            self._task = self._bar.add_task(self._title, total=None, text="")
        total = None if progress.text and progress.total_rows == 1 else progress.total_rows
        self._bar.update(self._task, completed=progress.rows, total=total, text=printable(text))

    def _say(self, text: str) -> None:
        self._last_line, self._is_told = time.monotonic(), True
        say(f"{self._title}: {text}")

    def _break_silence(self) -> None:
        """Tell what goes on, once, where nothing was told for a while."""
        while not self._ended.wait(SILENT_SECONDS / 4):
            with self._lock:
                is_silent = time.monotonic() - self._last_line >= SILENT_SECONDS
                if is_silent and self._stage and not (self._is_told or self._ended.is_set()):
                    self._say(self._stage)

    def _waits_for(self, progress: Progress) -> str:
        """Tell disk from compute by the time since the report before."""
        before, self._before = self._before, progress
        if before is None or progress.step == 0:
            return ""
        waited = progress.wait_seconds - before.wait_seconds
        passed = progress.seconds - before.seconds
        return "disk" if 2 * waited > passed else "compute"


def describe(progress: Progress, waiting: str, left: float | None) -> str:
    """Say in one line where the work stands.

    Examples
    --------
    >>> describe(Progress(500, 1000, 10**9, 2.0, loss=0.25, step=5), "disk", 2.0)
    '250 rows/s  0.50 GB/s  loss 0.2500  waits for disk  0:00:02 left'
    """
    parts = []
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
    if progress.lanes:
        parts.append(progress.lanes)
    if left is not None:
        at_most = "at most " if progress.at_most else ""
        parts.append(f"{at_most}{format_seconds(left)} left")
    return "  ".join(parts)
