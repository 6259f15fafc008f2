"""How far the memory of this process goes up while something is done, whatever was before it."""

from collections.abc import Callable
from pathlib import Path

from ooc.core.process import peak_bytes


def forget_peak() -> int:
    """Let the peak count from now on, see proc(5); return what is in memory."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def grown(work: Callable[[], object]) -> int:
    """Return the bytes by which the memory is larger at its largest than it was before."""
    before = forget_peak()
    work()
    return peak_bytes() - before
