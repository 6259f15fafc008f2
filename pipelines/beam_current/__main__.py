"""Beam current: what a network learned of sixteen monitors raises an alarm where they break.

A storage ring's current is generated at 10 kHz, with one percent of faults left in what is learned.
An autoencoder is trained out of core on overlapping windows of it, which are not copied; thresholds
come of the training data alone. A later stretch is watched as it would arrive, by the network and
by plain methods on the same windows, and counted by faults found and false alarms.
``python -m pipelines.beam_current detect FOLDER STREAM`` watches a stream of one's own.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.sizes import format_size
from pipelines.beam_current import detect, events, machine_temperature, plain
from pipelines.beam_current.calibration import Method, calibrate
from pipelines.beam_current.data import (
    CHANNELS,
    CHUNK,
    RATE,
    Machine,
    draw_chunk,
    fault_key,
    make,
    notes,
    times_of,
)  # fmt: skip
from pipelines.beam_current.detector import QUIET, Alarm, first_state, step, watch
from pipelines.beam_current.faults import schedule
from pipelines.beam_current.figures import draw_alarm, draw_machine, draw_recall, draw_stretch
from pipelines.beam_current.network import RelativeAutoencoder, Training, train
from pipelines.beam_current.trained import Trained
from pipelines.beam_current.watching import FACTORS, drawn_units, stored_units, watch_all
from pipelines.common.arguments import Parser, add_data_options, check_memory
from pipelines.common.checks import Check, at_least, at_most, inside_budget
from pipelines.common.command import carry_out
from pipelines.common.dataset import open_or_make, progress
from pipelines.common.section import Section
from pipelines.common.table import Table

# All modes in turn within the training data, which are too short for slow ones to be known.
QUICK = {"training_seconds": 160.0, "test_seconds": 60.0, "cycle": 190, "epochs": 1}
FAULTY = 0.01  # of the training data
GAP = 150  # chunks between training and test


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Generate, train, calibrate, watch, count, draw."""
    seed, folder, budget = options.seed, options.folder, check_memory(options.memory)
    check(options)
    machine = Machine(seed, options.cycle)
    chunks = times_of(options.training_seconds) // CHUNK
    faults = schedule(fault_key(seed, "training"), 0, chunks * CHUNK, CHANNELS, RATE, FAULTY)
    path = folder / f"training-{options.training_seconds:g}s-seed{seed}.zarr"
    expected = {**notes(options.training_seconds, machine, faults, 0), "rows": chunks * CHUNK}
    made = partial(make, path, options.training_seconds, machine, faults)
    store = open_or_make(path, expected, lambda report: made(report=report))

    training = Training(options.epochs, memory=options.memory, seed=seed)
    model, parameters, results = train(store, training, folder / "run")
    begun = time.perf_counter()
    with progress("find thresholds"):
        network = Trained(model, parameters, None, RATE).network  # type: ignore[arg-type]
        method: Method = partial(step, network)
        limits = calibrate(method, stored_units(store), RATE)
        trained = Trained(model, parameters, limits, RATE)
        trained.save(folder / "detector")
        some = list(islice(stored_units(store), 0, None, max(1, chunks // plain.SAMPLED_UNITS)))
        methods = {"autoencoder": (method, limits)}
        for name, other in plain_methods(model, some, training.code).items():
            methods[name] = (other, calibrate(other, stored_units(store), RATE))
    thresholds = time.perf_counter() - begun

    begin, count = chunks + GAP, times_of(options.test_seconds) // CHUNK
    span = (begin * CHUNK, (begin + count) * CHUNK)
    broken = schedule(fault_key(seed, "test"), *span, CHANNELS, RATE, None)
    with progress("watch"):
        watched = watch_all(methods, drawn_units(machine, begin, count, broken), span[0])
        forest = plain.forest(model, some)
        units = drawn_units(machine, begin, count, broken)
        judged = watch_by_forest(forest, some, units, span[0])
    counts = {name: events.count(each.alarms[1.0], broken) for name, each in watched.items()}
    counts["isolation forest"] = events.count(judged[0], broken, names_channel=False)
    areas = {
        name: events.area([
            (one.found(), one.precision())
            for factor in FACTORS
            for one in [events.count(each.alarms[factor], broken)]
        ])
        for name, each in watched.items()
    }  # fmt: skip
    seconds = {name: sum(each.seconds) for name, each in watched.items()}
    seconds["isolation forest"] = judged[1]

    own, hours = counts["autoencoder"], options.test_seconds / 3600
    alarms = watched["autoencoder"].alarms[1.0]
    pictures = [
        draw_stretch(machine, begin, count, broken, alarms),
        draw_recall(counts),
        draw_alarm(machine, broken, network, first_spike_alarm(alarms)),
    ]
    for each in pictures:
        each.save(folder)
    latency = window_seconds(trained, machine, begin)
    speed = options.test_seconds / seconds["autoencoder"]
    median, slowest = (1e3 * np.quantile(latency, share) for share in (0.5, 0.99))
    yield Section(
        f"{len(broken):,} faults in {hours:.3g} hours",
        f"Training on {options.training_seconds:g} s, {format_size(store.rows * 64)}: "
        f"{results['rows']:,} windows, {results['seconds']:.0f} s, memory peak "
        f"{format_size(results['memory_peak_bytes'])}; thresholds in {thresholds:.0f} s. "
        f"A window of 6.4 ms takes {median:.2f} ms (median), {slowest:.2f} ms (p99) when it comes "
        "alone.",
        (_table(counts, areas, seconds, hours),),
        tuple(pictures),
        _checks(options, own, hours, speed, results, budget),
        {
            "found": {name: each.found() for name, each in counts.items()},
            "areas": areas,
            "false_alarms": {name: len(each.false) for name, each in counts.items()},
            "window_milliseconds": {"median": median, "p99": slowest},
        },
    )
    if (real := os.environ.get("OOC_REAL_DATA")) and Path(
        real, machine_temperature.SERIES
    ).exists():
        yield _machine(Path(real), folder, options)


def check(options: argparse.Namespace) -> None:
    """Refuse lengths that cannot be, before any work."""
    if options.training_seconds < 150 or options.test_seconds < 20 or options.epochs < 1:
        raise InputError(
            f"{options.training_seconds:g} s to train on and {options.test_seconds:g} to test, in "
            f"{options.epochs} epochs, are not possible: take 150, 20 and 1 at least"
        )


def plain_methods(
    model: RelativeAutoencoder, some: Sequence[np.ndarray], code: int
) -> dict[str, Method]:
    """Return PCA, EWMA and CUSUM; the charts' deviations are of some units of the training data."""
    deviations = [unit.std(axis=0) for unit in some[:20]]
    means = np.stack([unit.mean(axis=0) / unit.mean() for unit in some])
    spread = np.maximum((means / np.median(means, axis=0)).std(axis=0), 1e-6)
    return {
        "PCA": plain.pca(model, some, code),
        "EWMA": plain.ewma(model),
        "CUSUM": plain.cusum(model, np.median(deviations, axis=0), spread),
    }


def watch_by_forest(
    score: Callable[[np.ndarray], np.ndarray],
    some: Sequence[np.ndarray],
    units: Iterable[np.ndarray],
    first: int,
) -> tuple[list[Alarm], float]:
    """Return an isolation forest's alarms, and its seconds; its limit is of some training units.

    It tells no channel.
    """
    limit = max(float(np.quantile(score(unit), 0.999)) for unit in some)
    alarms, last, spent = list[Alarm](), -(10**9), 0.0
    for number, unit in enumerate(units):
        begun = time.process_time()
        found = score(unit)
        spent += time.process_time() - begun
        length = len(unit) // len(found)
        for place in np.flatnonzero(found > limit).tolist():
            at = first + number * len(unit) + (place + 1) * length
            if at - last > QUIET["fast"]:
                alarms.append(Alarm(-1, "any", at - length, at, float(found[place] / limit)))
            last = at
    return alarms, spent


def first_spike_alarm(alarms: Sequence[Alarm]) -> Alarm:
    """Return a fast alarm that is not at a chunk's end, the clearest one."""
    fast = [a for a in alarms if a.kind == "fast" and 400 < a.onset % CHUNK < CHUNK - 400]
    return max(fast, key=lambda alarm: alarm.score)


def window_seconds(trained: Trained, machine: Machine, begin: int) -> np.ndarray:
    """Return how long single windows take that come one by one."""
    state, unit, taken = first_state(CHANNELS), draw_chunk(machine, begin), []
    for window in unit.reshape(-1, trained.network.length, CHANNELS):
        begun = time.perf_counter()
        watch(trained.network, trained.limits, state, window)
        taken.append(time.perf_counter() - begun)
    return np.array(taken[8:])


def _table(
    counts: Mapping[str, events.Count],
    areas: Mapping[str, float],
    seconds: Mapping[str, float],
    hours: float,
) -> Table:
    rows = []
    for name, found in counts.items():
        numbers = (
            found.recall("spike", 6), found.recall("spike"), found.recall("drift", 0.2),
            found.recall("drift"), found.recall("loss"), found.recall("freeze"),
        )  # fmt: skip
        cells = ["" if np.isnan(number) else f"{number:.3f}" for number in numbers]
        area = f"{areas[name]:.3f}" if name in areas else ""
        speed = f"{3600 * hours / seconds[name]:.0f}"
        rows.append((name, *cells, f"{len(found.false):,}", area, speed))
    head = ("", "spikes >= 6", "spikes", "drifts >= 0.2", "drifts", "losses", "freezes",
            "false alarms", "AUC-PR", "x real time")  # fmt: skip
    return Table(
        "share of faults found in time; all methods on the same windows", head, tuple(rows)
    )


def _checks(
    options: argparse.Namespace,
    own: events.Count,
    hours: float,
    speed: float,
    results: Mapping[str, Any],
    budget: int,
) -> tuple[Check, ...]:
    what = ", but of drifts" if options.quick else ""
    # While a channel is frozen no spike of another is told, and in a minute that is much of it.
    least = 0.8 if options.quick else 0.99
    counted = sum(not (options.quick and alarm.kind == "slow") for alarm in own.false)
    found = [
        at_least("spikes of 6 sigma or more found within 10 ms", own.recall("spike", 6), least),
        at_most(f"false alarms{what}", counted, max(1, hours / 24)),
        at_least("losses and freezes found", own.recall_of(("loss", "freeze")), 0.95),
        at_least("times as fast as real time, on one core", speed, 20),
        inside_budget(results["memory_peak_bytes"], budget),
    ]
    if not options.quick:  # no drift is seen for fifteen minutes there
        text = "drifts of 0.2 percent an hour or more found within 15 minutes"
        found.insert(1, at_least(text, own.recall("drift", 0.2), 0.95))
    return tuple(found)


def _machine(real: Path, folder: Path, options: argparse.Namespace) -> Section:
    for name in ("machine.zarr", "learned-machine.zarr"):
        shutil.rmtree(folder / name, ignore_errors=True)
    found = machine_temperature.watch_machine(
        real, folder / "machine.zarr", options.seed, options.memory
    )
    image = draw_machine(found)
    image.save(folder)
    alarms = ", ".join(f"{found.times[at]:%Y-%m-%d %H:%M}" for at in found.alarms)
    return Section(
        "A machine's temperature (NAB)",
        f"{found.found} of {len(found.windows)} labelled windows found, {found.false} false alarms "
        f"in {len(found.values) / machine_temperature.A_DAY:.0f} days; NAB's standard score "
        f"{found.score:.1f}. Alarms: {alarms}.",
        pictures=(image,),
        checks=(at_least("labelled windows of the machine found", found.found, 3),),
        results={"nab_score": found.score, "nab_false": found.false},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline, or its command `detect`; return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["detect"]:
        return detect.main(given[1:])
    parser = Parser("beam_current", str(__doc__), QUICK)
    parser.epilog = "OOC_REAL_DATA names the folder of NAB's machine temperature."
    for name, default, text in (
        ("--training-seconds", 7200.0, "of beam that are learned, 0.64 MB each"),
        ("--test-seconds", 7200.0, "of beam that are watched"),
    ):
        parser.add_argument(name, type=float, default=default, help=text)
    parser.add_argument("--cycle", type=int, default=3000, help="chunks of all modes in turn")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the windows")
    add_data_options(parser, "beam-data", "1GiB")
    return carry_out(parser, run, given)


if __name__ == "__main__":
    sys.exit(main())
