"""Loops over rows that are left: by break, error, the garbage collector or a fork."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.local
import numpy as np
import pytest
from datasets import write_dataset

from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.stream.ending import end_later, wait_for_others
from ooc.stream.loader import Loader
from ooc.stream.reader import WindowReader

ROWS = 200
BEGIN = """
import gc, os, sys, threading
import numpy as np
import ooc
from ooc.core.process import resident_bytes
from ooc.stream.ending import end_later, wait_for_others
loader = ooc.Loader(ooc.open(sys.argv[1]), 16, memory="512MiB", window=4, block_rows=10, readers=2)
start = loader.state_dict()
"""
LEAVING = """
def leave():
    for batch in loader:
        break
def fail():
    try:
        for batch in loader:
            raise KeyError
    except KeyError:
        pass
def drop():
    cycle = [iter(loader)]
    next(cycle[0])
    cycle.append(cycle)
def finish():
    for batch in loader:
        pass
def state():
    gc.collect()
    wait_for_others()
    return len(os.listdir("/proc/self/fd")), threading.active_count(), resident_bytes()
for number in range(4_000):
    loader.load_state_dict(start)
    (leave, fail, drop, finish)[number % 4]()
    if number == 999:
        first = state()
last = state()
print(*(after - before for before, after in zip(first, last)))
"""
FORKING = """
from ooc.core.errors import InputError
def rows_of(loader):
    loader.load_state_dict(start)
    return np.concatenate([batch.rows for batch in loader])
def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except InputError as error:
            os._exit(3 if "begin a loop of its own" in str(error) else 4)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
expected = rows_of(loader)
def begin_anew():
    assert (rows_of(loader) == expected).all()
ends = set()
for number in range(50):
    loader.load_state_dict(start)
    iterator = iter(loader)
    next(iterator)
    ends.add((in_child(begin_anew), in_child(lambda: [*iterator]), in_child(lambda: None)))
    iterator.close()
assert (rows_of(loader) == expected).all()
print(ends)
"""
COLLECTING = """
from ooc.store.chunks.native import NativeReader
read_runs = NativeReader.read_runs
def collecting(self, *arguments):
    gc.collect()
    return read_runs(self, *arguments)
NativeReader.read_runs = collecting
for batch in loader:
    pass
loader.load_state_dict(start)
gc.disable()
gc.collect()
gc.freeze()  # collecting is quick
for number in range(50):
    cycle = [iter(loader)]
    next(cycle[0])
    cycle.append(cycle)
    del cycle
    loader.load_state_dict(start)
    wait_for_others()
for batch in loader:
    pass
print("done")
"""


def printed(work: str, tmp_path: Path, seconds: float) -> str:
    """Run a script on a small dataset in a process of its own; return what it prints."""
    x = np.random.default_rng(0).standard_normal((ROWS, 3)).astype(np.float32)
    write_dataset(tmp_path / "a.zarr", X=x, y=np.arange(ROWS) % 2)
    command = [sys.executable, "-c", BEGIN + work, str(tmp_path / "a.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_who_leaves_a_loop_waits_for_nothing_and_the_next_one_does(dataset: Dataset) -> None:
    """The garbage collector may do so, in a thread that is waited for or under any lock."""
    loader, goes_on = Loader(dataset, 16, memory="512MiB"), threading.Event()
    with WindowReader(dataset, ("X",), loader.plan) as reader:
        running = reader._pool.submit(goes_on.wait, 5)
    assert not running.done()
    goes_on.set()
    assert sum(len(batch.rows) for batch in loader) == 1003
    assert running.done()
    wait_for_others()
    assert not [each for each in threading.enumerate() if each.name.startswith("ooc-reader")]


@pytest.mark.slow
def test_the_collector_may_end_a_loop_in_a_reader(tmp_path: Path) -> None:
    assert printed(COLLECTING, tmp_path, 60) == "done"


@pytest.mark.slow
def test_loops_are_left_thousands_of_times_without_growth(tmp_path: Path) -> None:
    files, threads, held = map(int, printed(LEAVING, tmp_path, 900).split())
    assert files <= 0
    assert threads <= 1  # those of zarr-python come as they are needed
    assert held < 8 * 2**20


@pytest.mark.slow
def test_a_child_that_is_forked_in_a_loop_ends_or_begins_its_own(tmp_path: Path) -> None:
    assert printed(FORKING, tmp_path, 120) == "{(0, 3, 0)}"


@pytest.fixture
def silent() -> Iterator[Callable[..., Any]]:
    """A scheduler that answers for one window and then never, as that of a client that closed."""
    goes_on, is_asked, calls = threading.Event(), threading.Event(), itertools.count()

    def get(graph: Any, keys: Any) -> Any:
        if next(calls):
            is_asked.set()
            goes_on.wait()
        return dask.local.get_sync(graph, keys)

    get.is_asked_again = is_asked.wait  # type: ignore[attr-defined]
    yield get
    goes_on.set()


def rows_of(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "a.zarr", X=np.ones((ROWS, 3), "f4"), chunk_rows=10)


def test_nobody_waits_for_a_scheduler_that_does_not_answer(
    tmp_path: Path, silent: Callable[..., Any]
) -> None:
    """A loop that is left ends, and the next one begins."""
    dataset, how = rows_of(tmp_path), {"memory": "512MiB", "window": 4, "block_rows": 10}
    with dask.config.set(scheduler=silent):
        loop = iter(Loader(dataset, 16, **how))
        next(loop)
        assert silent.is_asked_again(60)  # type: ignore[attr-defined]
        loop.close()  # type: ignore[attr-defined]
    assert sum(len(batch.rows) for batch in Loader(dataset, 16, **how)) == ROWS
    waiting = [each for each in threading.enumerate() if each.name == "ooc-asking"]
    assert waiting and all(each.daemon for each in waiting), "the process ends without them"


def test_no_two_readers_ask_for_tasks_of_one_name(tmp_path: Path) -> None:
    """A scheduler would answer the second with what the first was answered."""
    asked: list[Any] = []

    def get(graph: Any, keys: Any) -> Any:
        asked.extend(graph)
        return dask.local.get_sync(graph, keys)

    dataset, how = rows_of(tmp_path), {"memory": "512MiB", "window": 4, "block_rows": 10}
    with dask.config.set(scheduler=get):
        for _ in range(2):
            assert sum(len(batch.rows) for batch in Loader(dataset, 16, **how)) == ROWS
    assert len(asked) == len(set(asked)) >= 10


def test_a_client_that_is_closed_in_a_loop_is_told(
    tmp_path: Path, silent: Callable[..., Any]
) -> None:
    class Client:
        status = "running"

        def get(self, graph: Any, keys: Any) -> Any:
            return silent(graph, keys)

    client = Client()
    with dask.config.set(scheduler=client.get):
        loop = iter(Loader(rows_of(tmp_path), 16, memory="512MiB", window=4, block_rows=10))
        next(loop)
        client.status = "closed"
        with pytest.raises(InputError, match="client of Dask was closed in the midst of a loop"):
            list(loop)


def test_what_was_left_is_ended_in_its_order_and_one_that_fails_ends_nothing_else() -> None:
    ended, threads = list[int](), set[str]()

    def end(number: int) -> None:
        ended.append(number)
        threads.add(threading.current_thread().name)
        if number == 1:
            raise ValueError(number)

    for number in range(4):
        end_later(partial(end, number))
    waiting = threading.Thread(target=wait_for_others, daemon=True)
    waiting.start()
    waiting.join(20)
    assert not waiting.is_alive()
    assert ended == [0, 1, 2, 3]
    assert threads == {"ooc-ending"}
    # The process ends without it.
    assert all(each.daemon for each in threading.enumerate() if each.name == "ooc-ending")
