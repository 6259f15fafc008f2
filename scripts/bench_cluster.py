"""Measure a run on a cluster of this machine beside one process: rates, and bytes of a step.

Both train logistic regression in the same lanes, in turn, on the same store; the worker processes
have a thread each, and one process has as many threads as there are cores. Parameters have to be
the same to the last bit.
"""

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands import print_table, run_ooc
from distributed import Client, LocalCluster

import ooc
from ooc.core.machine import machine
from ooc.stream.reader import reading_here

FLOAT = 4


def main() -> None:
    """Make the store where it is missing, train in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the store is, or is made")
    parser.add_argument("--rows", default="4M")
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    path = given.folder / f"logistic-{given.rows}-{given.features}.zarr"
    if not path.exists():
        run_ooc(
            "make", "logistic", str(path), "--rows", given.rows, "--features", str(given.features)
        )
    trainer = ooc.Trainer(
        ooc.models.Logistic(standardise=False), ooc.optim.sgd(0.1), given.batch_size,
        memory="1GiB", lanes=given.workers, window=64,
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
        for number in range(given.rounds + 1):
            for name, served in (("one process", None), ("cluster", client)):
                results = trainer.fit(dataset, 1, report=False, client=served).results
                hashes.add(results["parameters_sha256"])
                if number > 0:  # the first round warms up
                    rates[name].append(results["rows_per_second"])
                    seconds.setdefault(name, []).append(results["seconds"])
    needed = 2 * FLOAT * (given.features + 1) * given.workers
    one, many = (statistics.median(each) for each in rates.values())
    lines = [
        (name, f"{statistics.median(each):,.0f} rows/s, {statistics.median(seconds[name]):.2f} s")
        for name, each in rates.items()
    ]
    print(f"{machine()}, batch {given.batch_size:,}, {given.features} features, one epoch")
    print_table([*lines, ("cluster over one process", f"{many / one:.2f}")])
    told = results["bytes_per_step"]
    print(f"bytes a step: {told:,}, {told / needed:.2f} of twice the parameters a worker")
    print(f"same bits: {len(hashes) == 1}")


if __name__ == "__main__":
    main()
