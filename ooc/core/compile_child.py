"""Kernels that the cache lacks are compiled in short-lived forks, before a run takes memory.

What a compiler takes is thus never part of a run. Where a child fails, the kernel is compiled here.
"""

import gc
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from numba.core.registry import cpu_target

from ooc.core.errors import InputError
from ooc.core.garbage import uncollected
from ooc.core.kernel_cache import FOLDER, is_ready, mark_ready
from ooc.core.process import release_code
from ooc.core.progress import Progress, Report, tell
from ooc.core.stopping import ASKING

# A child that has finished nothing for so long is given up.
PATIENCE_SECONDS = 40.0
MOST_CHILDREN = 2


@dataclass(frozen=True)
class Compilation:
    """One kernel to be compiled, or loaded; its name in the cache: function, types and options."""

    name: str
    compile: Callable[[], object]


def load_kernels(wanted: Sequence[Compilation], report: Report) -> int:
    """Load kernels, those that the cache lacks after they were compiled; return how many those are.

    At the end the compiler's code is given back: nothing that was asked for needs it any more.
    """
    named = {each.name: each for each in wanted}
    missing = [each for name, each in named.items() if not is_ready(name)]
    # Without a folder, what a child compiles would go with it.
    if missing and FOLDER is not None:
        _compile_aside(missing, report)
    tell(report, "loading kernels")
    with uncollected():
        for each in named.values():
            try:
                each.compile()
            except OSError as error:
                raise InputError(
                    f"kernels cannot be kept in {FOLDER}: {error.strerror}; make room there, or "
                    "set NUMBA_CACHE_DIR to another folder"
                ) from None
            mark_ready(each.name)
    release_code("llvmlite")
    return len(missing)


def _compile_aside(missing: Sequence[Compilation], report: Report) -> None:
    """Compile in children; what they could not do is left."""
    # Two children must not write one function's index at the same time.
    groups: dict[str, list[Compilation]] = {}
    for each in missing:
        groups.setdefault(each.name.partition(" ")[0], []).append(each)
    jobs = list(groups.values())
    kernels = "1 kernel" if len(missing) == 1 else f"{len(missing)} kernels"
    text = f"compiling {kernels}, once on this machine"
    begun, total, done = time.perf_counter(), len(missing), 0
    report(Progress(0, total, 0, 0.0, text=text))
    # What Numba does as its first kernel is compiled or loaded: children need not do it anew.
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    queue_out, queue_in = os.pipe()
    result_out, result_in = os.pipe()
    for number in range(len(jobs)):
        os.write(queue_in, number.to_bytes(2, "little"))
    os.close(queue_in)
    cores = min(MOST_CHILDREN, len(os.sched_getaffinity(0)))
    children = [_fork(jobs, queue_out, result_in) for _ in range(cores)]
    os.close(queue_out)
    os.close(result_in)
    # Not select(2), which takes no descriptor above 1,023.
    results = select.poll()
    results.register(result_out, select.POLLIN)
    try:
        while results.poll(1000 * PATIENCE_SECONDS):
            if not os.read(result_out, 1):
                break
            done += 1
            report(Progress(done, total, 0, time.perf_counter() - begun, text=text))
    finally:
        os.close(result_out)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def _fork(jobs: Sequence[Sequence[Compilation]], queue: int, result: int) -> int:
    """Start a child that takes numbers of jobs from a queue, until there are none left."""
    child = os.fork()
    if child:
        return child
    try:
        # A compiler makes objects by the million and little garbage.
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)
        for number in ASKING:
            signal.signal(number, signal.SIG_DFL)
        # A parent that dies takes the queue with it; what is begun is finished, no more.
        while taken := os.read(queue, 2):
            for each in jobs[int.from_bytes(taken, "little")]:
                each.compile()
                mark_ready(each.name)
                os.write(result, b".")
    finally:
        # No handlers, no buffers of the parent's.
        os._exit(0)
    return 0
