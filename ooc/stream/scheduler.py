"""Which scheduler of Dask runs the tasks of reading: the embedded one, or one of the user's.

The only file that imports dask.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import dask.base
import dask.local
import dask.threaded

from ooc.core.errors import InputError

_IN_PROCESS = (dask.threaded.get, dask.local.get_sync)
_READS_HERE = ContextVar("ooc_reads_here", default=False)


@contextmanager
def reading_here() -> Iterator[None]:
    """Read on this process's own threads, whatever scheduler there is.

    In a worker of a cluster Dask would hand the reading to the cluster, whose threads may all be
    waiting for it.
    """
    token = _READS_HERE.set(True)
    try:
        yield
    finally:
        _READS_HERE.reset(token)


def with_settings(settings: Mapping[str, Any]) -> AbstractContextManager[Any]:
    """Return a context in which Dask is configured so, as `dask.config.set` does."""
    context: AbstractContextManager[Any] = dask.config.set(settings)
    return context


def scheduler_of_user() -> Callable[..., Any] | None:
    """Return the scheduler that the user has set through Dask, without importing for it.

    Dask imports distributed to look for a client: there is none before somebody has imported it.
    """
    if _READS_HERE.get():
        return None
    if not dask.config.get("scheduler", None) and "distributed" not in sys.modules:
        return None
    return dask.base.get_scheduler()


def embedded_scheduler(pool: ThreadPoolExecutor) -> Callable[..., Any]:
    """Return the scheduler of this process, which runs tasks on these threads."""
    return partial(dask.threaded.get, pool=pool)


def transfers_rows() -> bool:
    """Tell whether the user has set a scheduler through Dask that runs tasks elsewhere."""
    scheduler = scheduler_of_user()
    return scheduler is not None and scheduler not in _IN_PROCESS


def check_scheduler() -> None:
    """Refuse processes that would run the user's script again, each from its beginning.

    Raises
    ------
    InputError
        If Dask's scheduler starts processes, and the script has no main guard.
    """
    scheduler = scheduler_of_user()
    module = getattr(scheduler, "__module__", "")
    how = dask.config.get("multiprocessing.context", "spawn")
    if module != "dask.multiprocessing" or how == "fork":
        return
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    name = getattr(getattr(main, "__spec__", None), "name", "")
    # A package that was run by its name is not run again.
    if file is None or name.rpartition(".")[2] == "__main__":
        return
    with suppress(OSError, UnicodeDecodeError):
        if "__name__" not in Path(file).read_text(encoding="utf-8"):
            raise InputError(
                f"Dask's scheduler of processes would run {file} again in each of them; begin its "
                "work below if __name__ == '__main__':, or choose another scheduler"
            )


def _renew_lock() -> None:
    """Begin anew in a child: the thread that holds Dask's lock does not come along."""
    dask.threaded.pools_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
