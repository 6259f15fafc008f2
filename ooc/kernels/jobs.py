"""The jobs at hand, shares or pieces, one after the other or on Numba's threads.

One loop for both: Numba names what its threads run after a place in the compiler's memory and the
types of arguments. Two loops of the same types that were compiled in two processes can have one
name, and then one of them is run in place of the other.
"""

import numpy as np
from numba import get_thread_id, prange

from ooc.core.compiler import lean_kernel
from ooc.kernels.counters import OK
from ooc.kernels.work import call_job


def run_jobs(work: np.ndarray, one: np.floating) -> int:
    """Do the jobs at hand one after the other, see `ooc.kernels.work`."""
    for number in range(work[0].jobs):
        run_job(work, one, int(np.int64(0)), int(np.int64(number)))
    return OK


def run_jobs_in_parallel(work: np.ndarray, one: np.floating) -> int:
    """Do as `run_jobs`, on Numba's threads."""
    for number in prange(work[0].jobs):
        # The loop's own number has no sign: all would be compiled once more for it.
        run_job(work, one, int(np.int64(get_thread_id())), int(np.int64(number)))
    return OK


@lean_kernel
def run_job(work: np.ndarray, one: np.floating, thread: int, number: int) -> None:
    """Call the job by its address; a record by itself cannot go to threads."""
    call_job(work[0].job, (work, one, thread, number))
