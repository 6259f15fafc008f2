"""Measure a run on a cluster of this machine beside one process: rates, and bytes of a step.

Both train logistic regression in the same lanes, in turn, on the same store; the worker processes
have a thread each, and one process has as many threads as there are cores. Parameters have to be
the same to the last bit.

What a step costs at least is measured beside it: a question and an answer of the same bytes to each
worker, and nothing else, by Dask's own messages and by the lines that steps go over.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands import print_table, run_ooc
from distributed import Client, LocalCluster
from distributed.comm import connect
from distributed.core import Status
from peers.bench import Bench
from peers.time_to_loss import race

import ooc
from ooc.cluster.line import GoneError, Line
from ooc.core.machine import machine
from ooc.stream.scheduler import reading_here

FLOAT = 4
QUESTIONS = 2000


def add_echoes(dask_worker: Any) -> None:
    """Let a worker send back what it is sent, by messages of Dask's and over a line."""

    async def echo_messages(comm: Any) -> Status:
        try:
            while True:
                await comm.write(await comm.read())
        except OSError:
            return Status.dont_reply

    async def echo_line(comm: Any) -> Status:
        line = Line(comm)

        def echo() -> None:
            try:
                while True:
                    line.send(line.receive()[0])
            except GoneError:
                pass

        await asyncio.get_running_loop().run_in_executor(None, echo)
        comm.abort()
        return Status.dont_reply

    dask_worker.handlers |= {"echo_messages": echo_messages, "echo_line": echo_line}


async def call(client: Client, addresses: list[str], operation: str) -> list[Any]:
    """Return a connection to each worker, or the line that was made of it."""
    found = []
    for address in addresses:
        comm = await connect(address, **client.connection_args)
        await comm.write({"op": operation, "reply": False})
        found.append(Line(comm) if operation == "echo_line" else comm)
    return found


async def exchange(comms: list[Any], message: bytes) -> float:
    """Return the seconds of a question to all workers at once, by messages of Dask's."""
    begun = time.perf_counter()
    for _ in range(QUESTIONS):
        for comm in comms:
            await comm.write(message)
        for comm in comms:
            await comm.read()
    seconds = time.perf_counter() - begun
    for comm in comms:
        comm.abort()
    return seconds / QUESTIONS


def exchange_lines(lines: list[Line], message: bytes) -> float:
    """Return the seconds of a question to all workers at once, over lines."""
    time.sleep(0.2)  # until the other ends are lines, too
    begun = time.perf_counter()
    for _ in range(QUESTIONS):
        for line in lines:
            line.send(message)
        for line in lines:
            line.receive()
    return (time.perf_counter() - begun) / QUESTIONS


async def hang_up(lines: list[Line]) -> None:
    """End lines, on the event loop that they came from."""
    for line in lines:
        line.end()


def limits(client: Client, size: int) -> dict[str, float]:
    """Return the seconds of an empty step of so many bytes to a worker, by either way."""
    addresses, message = list(client.run(add_echoes)), bytes(size)
    comms, lines = (
        client.sync(call, client, addresses, each) for each in ("echo_messages", "echo_line")
    )
    found = {
        "messages of Dask's": client.sync(exchange, comms, message),
        "lines": exchange_lines(lines, message),
    }
    client.sync(hang_up, lines)
    return found


def main() -> None:
    """Make the store where it is missing, train in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the store is, or is made")
    parser.add_argument("--rows", default="4M")
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="time to the same loss, with peers")
    given = parser.parse_args()
    path = given.folder / f"logistic-{given.rows}-{given.features}.zarr"
    if not path.exists():
        run_ooc(
            "make", "logistic", str(path), "--rows", given.rows, "--features", str(given.features)
        )
    trainer = ooc.Trainer(
        ooc.models.Logistic(standardise=False), ooc.optim.sgd(0.1), given.batch_size,
        memory="1GiB", lanes=given.workers,
    )  # fmt: skip
    rates: dict[str, list[float]] = {"one process": [], "cluster": []}
    dataset, hashes, seconds = ooc.open(path), set[str](), dict[str, list[float]]()
    results: Mapping[str, Any] = {}
    with (
        LocalCluster(
            n_workers=given.workers, threads_per_worker=1, host="127.0.0.1", memory_limit=0,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
        # Else Dask would hand the reading of the one process to the cluster.
        reading_here(),
    ):  # fmt: skip
        if given.peers:
            bench = Bench(given.folder, path, given.batch_size, "1GiB", 300, False)
            print(f"{machine()}, batch {given.batch_size:,}, {given.features} features")
            print(f"{given.rows} rows, {given.rounds} rounds: median, least and most")
            print_table(race(bench, trainer, client, given.rounds))
            return
        for number in range(given.rounds + 1):
            for name, served in (("one process", None), ("cluster", client)):
                results = trainer.fit(dataset, 1, report=False, client=served).results
                hashes.add(results["parameters_sha256"])
                if number > 0:  # the first round warms up
                    rates[name].append(results["rows_per_second"])
                    seconds.setdefault(name, []).append(results["seconds"])
        empty = limits(client, FLOAT * (given.features + 1))
    needed = 2 * FLOAT * (given.features + 1) * given.workers
    one, many = (statistics.median(each) for each in rates.values())
    lines = [
        (
            name,
            f"{statistics.median(each):,.0f} rows/s, {statistics.median(seconds[name]):.2f} s "
            f"to loss {results['loss']:.4f}",
        )
        for name, each in rates.items()
    ]
    print(f"{machine()}, batch {given.batch_size:,}, {given.features} features, one epoch")
    print_table([*lines, ("cluster over one process", f"{many / one:.2f}")])
    told = results["bytes_per_step"]
    print(f"bytes a step: {told:,}, {told / needed:.2f} of twice the parameters a worker")
    one_step = given.batch_size / one
    print(f"a step of one process: {1e6 * one_step:,.0f} us; of the cluster, an empty one by")
    for name, each in empty.items():
        most = one_step / (one_step + each)
        print(f"  {name}: {1e6 * each:,.0f} us, which alone would leave {most:.2f} of the rate")
    print(f"same bits: {len(hashes) == 1}")


if __name__ == "__main__":
    main()
