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
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ooc.core.errors import InputError
from ooc.core.sizes import format_size
from pipelines.beam_current import detect, machine_temperature
from pipelines.beam_current.calibration import Method, calibrate
from pipelines.beam_current.comparison import NETWORK, Comparison, compare
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
from pipelines.beam_current.detector import step, watch
from pipelines.beam_current.faults import KINDS, Fault, schedule
from pipelines.beam_current.figures import draw_alarm, draw_machine, draw_recall, draw_stretch
from pipelines.beam_current.long_watch import LongWatch, watch_long
from pipelines.beam_current.network import Training, train
from pipelines.beam_current.state import Alarm, first_state
from pipelines.beam_current.trained import Trained
from pipelines.beam_current.watching import drawn_units, stored_units
from pipelines.common.arguments import Parser, add_data_options, check_memory
from pipelines.common.checks import Check, at_least, at_most, inside_budget
from pipelines.common.command import carry_out
from pipelines.common.dataset import Dataset, open_or_make, progress
from pipelines.common.section import Section

# All modes in turn within the training data, which are too short for slow ones to be known.
QUICK = {
    "training_seconds": 160.0, "test_seconds": 60.0, "long_hours": 0.0, "cycle": 190, "epochs": 1,
}  # fmt: skip
FAULTY = 0.01  # of the training data
GAP = 150  # chunks between training and test, and between test and what is watched for long


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Generate, train, calibrate; watch for long, watch beside plain methods; draw."""
    check(options)
    budget, machine = check_memory(options.memory), Machine(options.seed, options.cycle)
    store = open_training(options, machine)
    training = Training(options.epochs, memory=options.memory, seed=options.seed)
    model, parameters, results = train(store, training, options.folder / "run")
    begun = time.perf_counter()
    with progress("find thresholds"):
        network = Trained(model, parameters, None, RATE).network  # type: ignore[arg-type]
        method: Method = partial(step, network)
        limits = calibrate(method, stored_units(store), RATE)
        trained = Trained(model, parameters, limits, RATE)
        trained.save(options.folder / "detector")
    thresholds = time.perf_counter() - begun
    learned = (
        f"Training on {options.training_seconds:g} s, {format_size(store.rows * 64)}: "
        f"{results['rows']:,} windows, {results['seconds']:.0f} s, memory peak "
        f"{format_size(results['memory_peak_bytes'])}; thresholds in {thresholds:.0f} s."
    )

    begin, count = store.rows // CHUNK + GAP, times_of(options.test_seconds) // CHUNK
    faults = faults_of(options.seed, "test", begin, count)
    if options.long_hours:
        long_begin, long_count = begin + count + GAP, times_of(3600 * options.long_hours) // CHUNK
        others = faults_of(options.seed, "long", long_begin, long_count)
        with progress("watch for long") as report:
            yield _long(
                watch_long(machine, long_begin, long_count, others, (method, limits), report)
            )
    with progress("watch beside plain methods"):
        units = drawn_units(machine, begin, count, faults)
        compared = compare(
            (method, limits), model, training.code, store, units, begin * CHUNK, faults
        )
    pictures = [
        draw_stretch(machine, begin, count, faults, compared.alarms),
        draw_recall(compared.counts),
        draw_alarm(machine, faults, network, clearest(compared.alarms)),
    ]
    for each in pictures:
        each.save(options.folder)
    latency = window_seconds(trained, machine, begin)
    median, slowest = (1e3 * np.quantile(latency, share) for share in (0.5, 0.99))
    seconds = count * CHUNK / RATE
    yield Section(
        f"{len(faults):,} faults in {seconds / 3600:.3g} hours",
        f"{learned} A window of 6.4 ms takes {median:.2f} ms (median), {slowest:.2f} ms (p99) when "
        f"it comes alone. {compared.verdict()}",
        (compared.table(seconds),),
        tuple(pictures),
        (
            *_checks(options, compared, seconds),
            inside_budget(results["memory_peak_bytes"], budget),
        ),
        {
            "found": {name: each.found() for name, each in compared.counts.items()},
            "areas": dict(compared.areas),
            "false_alarms": {name: len(each.false) for name, each in compared.counts.items()},
            "window_milliseconds": {"median": median, "p99": slowest},
        },
    )
    if (real := os.environ.get("OOC_REAL_DATA")) and Path(
        real, machine_temperature.SERIES
    ).exists():
        yield _machine(Path(real), options.folder, options)


def open_training(options: argparse.Namespace, machine: Machine) -> Dataset:
    """Return the stretch to train on, made first if it is not there."""
    chunks = times_of(options.training_seconds) // CHUNK
    faults = faults_of(options.seed, "training", 0, chunks, FAULTY)
    path = options.folder / f"training-{options.training_seconds:g}s-seed{options.seed}.zarr"
    expected = {**notes(options.training_seconds, machine, faults, 0), "rows": chunks * CHUNK}
    made = partial(make, path, options.training_seconds, machine, faults)
    return open_or_make(path, expected, lambda report: made(report=report))


def faults_of(
    seed: int, what: str, begin: int, chunks: int, share: float | None = None
) -> tuple[Fault, ...]:
    """Return the faults of a stretch of chunks."""
    span = (begin * CHUNK, (begin + chunks) * CHUNK)
    return schedule(fault_key(seed, what), *span, CHANNELS, RATE, share)


def check(options: argparse.Namespace) -> None:
    """Refuse lengths that cannot be, before any work."""
    if options.long_hours < 0:
        raise InputError(f"--long-hours is {options.long_hours:g}; 0 leaves that out")
    if options.training_seconds < 150 or options.test_seconds < 20 or options.epochs < 1:
        raise InputError(
            f"{options.training_seconds:g} s to train on and {options.test_seconds:g} to test, in "
            f"{options.epochs} epochs, are not possible: take 150, 20 and 1 at least"
        )


def clearest(alarms: Sequence[Alarm]) -> Alarm:
    """Return the highest fast alarm that is not at a chunk's end."""
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


def _long(watched: LongWatch) -> Section:
    drifts = watched.least_recall("drift", 0.2)
    spikes = watched.least_recall("spike", 6)
    found, speed = watched.found, 3600 * watched.hours / watched.seconds
    recall = [f"{kind} {found.recall(kind):.3f}" for kind in KINDS]
    text = (
        f"Found in time: {spikes[0]} of {spikes[1]} spikes of 6 sigma or more (recall surely above "
        f"{spikes[2]:.3f}), {drifts[0]} of {drifts[1]} drifts of 0.2 percent an hour or more "
        f"(above {drifts[2]:.3f}); of any size {', '.join(recall)}. {len(found.false)} false "
        f"alarms, surely fewer than {watched.most_false_a_day:.1f} a day."
    )
    times = "drifts of 0.2 percent an hour or more found within 15 minutes, for long"
    checks = [
        at_least("spikes of 6 sigma or more found, for long", found.recall("spike", 6), 0.99),
        at_most("false alarms a day, for long", watched.false_a_day, 1),
        at_least("times as fast as real time, for long", speed, 20),
    ]
    if drifts[1]:
        checks.insert(1, at_least(times, found.recall("drift", 0.2), 0.95))
    return Section(
        f"The network for {watched.hours:.3g} hours, with {len(found.faults):,} faults",
        text,
        checks=tuple(checks),
        results={
            "long_hours": watched.hours,
            "long_false": len(found.false),
            "long_false_a_day_at_most": watched.most_false_a_day,
        },
    )


def _checks(options: argparse.Namespace, compared: Comparison, seconds: float) -> tuple[Check, ...]:
    own, what = compared.counts[NETWORK], ", but of drifts" if options.quick else ""
    counted = sum(not (options.quick and alarm.kind == "slow") for alarm in own.false)
    least = 0.9 if options.quick else 0.99  # there are some ten of them
    speed = seconds / compared.seconds[NETWORK]
    found = [
        at_least("spikes of 6 sigma or more found within 10 ms", own.recall("spike", 6), least),
        at_most(f"false alarms{what}", counted, max(1, seconds / 86_400)),
        at_least("losses and freezes found", own.recall_of(("loss", "freeze")), 0.95),
        at_least("times as fast as real time, on one core", speed, 20),
    ]
    # A short stretch may have no such drift, and a quick one sees none for fifteen minutes.
    if not options.quick and not np.isnan(share := own.recall("drift", 0.2)):
        text = "drifts of 0.2 percent an hour or more found within 15 minutes"
        found.insert(1, at_least(text, share, 0.95))
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
        ("--test-seconds", 3600.0, "of beam that all methods watch"),
        ("--long-hours", 6.0, "of beam that the network watches alone"),
    ):
        parser.add_argument(name, type=float, default=default, help=text)
    parser.add_argument("--cycle", type=int, default=3000, help="chunks of all modes in turn")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the windows")
    add_data_options(parser, "beam-data", "1GiB")
    return carry_out(parser, run, given)


if __name__ == "__main__":
    sys.exit(main())
