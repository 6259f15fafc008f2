"""A Dask scheduler and workers as processes of their own, as ``dask scheduler`` starts them."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 60.0


@dataclass(frozen=True)
class Processes:
    """They listen on loopback; `address` is the scheduler's."""

    address: str
    scheduler: "subprocess.Popen[bytes]"
    workers: "list[subprocess.Popen[bytes]]"
    start_worker: "Callable[[], subprocess.Popen[bytes]]"

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """Start another worker for each that has ended.

        Dask's own nannies give up on a worker that ends before they have seen it begin.
        """
        ended = threading.Event()

        def replace() -> None:
            while not ended.wait(0.1):
                for place, worker in enumerate(self.workers):
                    if worker.poll() is not None:
                        self.workers[place] = self.start_worker()

        thread = threading.Thread(target=replace)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def kill(self) -> None:
        """Kill all at once."""
        for each in (self.scheduler, *self.workers):
            each.kill()
        for each in (self.scheduler, *self.workers):
            each.wait()


@contextmanager
def dask_processes(
    folder: Path, workers: int = 2, tls: Sequence[str] = (), environments: Sequence[dict] = (),
) -> Iterator[Processes]:  # fmt: skip
    """Start them, wait until the workers have joined, and end them.

    Parameters
    ----------
    tls
        Options of both that name certificates.
    environments
        Further variables of each worker.
    """
    told = folder / "scheduler.json"
    here = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")
    with (folder / "dask.log").open("wb") as log:

        def start(name: str, *options: str, **more: str) -> "subprocess.Popen[bytes]":
            command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *here, *options]
            environment = {**os.environ, **more}
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)

        secure = ("--protocol", "tls", *tls) if tls else ()
        scheduler = start("scheduler", "--port", "0", "--scheduler-file", str(told), *secure)
        address = awaited(lambda: json.loads(told.read_text())["address"])
        options = ("--no-nanny", "--nthreads", "1", *secure)
        started = [
            start("worker", address, *options, **more) for more in (environments or [{}] * workers)
        ]
        found = Processes(address, scheduler, started, lambda: start("worker", address, *options))
        joined = b"Registered to"
        awaited(lambda: (folder / "dask.log").read_bytes().count(joined) >= len(started) or None)
        try:
            yield found
        finally:
            found.kill()


def awaited(look):  # type: ignore[no-untyped-def]
    """Return what is found as soon as it is there."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(OSError, ValueError, KeyError):
            if (found := look()) is not None:
                return found
        time.sleep(0.02)
    raise TimeoutError("it did not come")
