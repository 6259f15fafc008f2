"""How a command ends under attack: run here or as a child, and held to what it should have been."""

import io
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

from peaks import forget_peak

from ooc.cli import _say_warning, main
from ooc.core.process import peak_bytes

MEMORY = "512MiB"
# A command here is an instant, but for what else the machine does; what it promises for slow disks
# and servers is added by a case.
BOUND = 40.0
# How lines begin that say something beside a result.
NOTES = ("ooc: ", "roles by", "left out", "the run was trained on ")
# The budget, and what this process held before it began.
MOST_GROWN = 2**28


class HungError(BaseException):
    """A command did not end in time."""


@dataclass(frozen=True)
class End:
    """Exit status, what was printed, seconds, and bytes that the largest memory grew by."""

    status: int
    out: str
    err: str
    seconds: float = 0.0
    grown: int = 0


def end_of(line: list[str], bound: float = BOUND) -> End:
    """Run a command in this process as the shell's own entry does."""
    out, err = io.StringIO(), io.StringIO()
    begun, before = time.monotonic(), forget_peak()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings(), timed(bound):
        warnings.simplefilter("always", RuntimeWarning)
        warnings.showwarning = _say_warning
        try:
            status = main(line)
        except (HungError, Exception) as error:
            err.write(f"Traceback: {type(error).__name__}: {error}\n")
            status = -1
    grown = peak_bytes() - before
    return End(status, out.getvalue(), err.getvalue(), time.monotonic() - begun, grown)


@contextmanager
def timed(bound: float) -> Iterator[None]:
    """Raise `HungError` where the work takes longer."""

    def late(number: int, frame: object) -> None:
        raise HungError(f"no end within {bound} s")

    handler = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, bound)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def problems_of(
    end: End, status: int, *names: str, said: str = "", most_grown: int = MOST_GROWN
) -> list[str]:
    """Return what is wrong with an end that should have had this status and named these things.

    A refusal is one line on standard error and nothing on standard output; a success tells notes
    and progress alone. `said` is what is in standard output.
    """
    told = [line for line in end.err.splitlines() if not is_progress(line)]
    found = []
    if "Traceback" in end.err or "Warning:" in end.err:
        found.append("a traceback or a warning of Python's")
    if end.status != status:
        found.append(f"status {end.status}, not {status}")
    if status == 2 and (len(told) != 1 or not told[0].startswith("ooc: ") or end.out):
        found.append(f"{len(told)} lines, not one that begins with ooc:, or output")
    if status == 0 and not all(line.startswith(NOTES) for line in told):
        found.append("lines that are no notes")
    found += [f"{name!r} is not named" for name in names if name not in end.err]
    if said not in end.out:
        found.append(f"{said!r} is not in the output")
    if end.grown > most_grown:
        found.append(f"memory grew by {end.grown / 2**20:.0f} MiB")
    return [f"{each}: {end.err[-600:]!r}" for each in found]


def attack(
    line: list[str], status: int, *names: str, folder: Path | None = None, **how: object
) -> list[str]:
    """Run a command; return what is wrong with its end, and what a refusal left in a folder."""
    before = tree(folder) if folder else {}
    end = end_of(line)
    found = problems_of(end, status, *names, **how)  # type: ignore[arg-type]
    if folder and status and (changed := tree(folder).items() ^ before.items()):
        found.append(f"it left {sorted(changed)[:5]}")
    # The first tells the most; paths of tests are long.
    return [f"{' '.join(Path(word).name for word in line)}: {each}" for each in found[:1]]


def tree(folder: Path) -> dict[str, int]:
    """Return the size of each file, by its path, but of locks, which may stay in a run's folder."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.name != "lock":
                found[str(path.relative_to(folder))] = 0 if path.is_dir() else path.lstat().st_size
    return found


def is_progress(line: str) -> bool:
    return ": " in line and line.split(" ")[0] in (
        "make", "train", "resume", "predict", "shuffle", "evaluate", "verify", "measure", "sweep",
        "plan",
    )  # fmt: skip
