"""Watch a stream as it arrives, and print its alarms as JSON lines.

A stream is standard input, readings as little-endian float32, one time after the other; or a Zarr
that grows, of which what is there is read, and then what is added. Memory does not grow with it.
After every unit of 0.8 s the detector's state is written, whole or not at all: killed and started
again, it goes on at the "time" that the state tells, which is where standard input is to begin. No
alarm is lost; those of the unit that was at hand may be printed once more.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.core.destination import write_whole
from ooc.core.errors import InputError
from ooc.core.terminal import one_line, say
from ooc.store.chunks import open_reader
from pipelines.beam_current.detector import UNIT, State, first_state, watch
from pipelines.beam_current.network import LENGTH
from pipelines.beam_current.trained import load

BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.beam_current detect", description=str(__doc__).split("\n")[0]
    )
    parser.add_argument("detector", type=Path, help="folder that training wrote the detector to")
    parser.add_argument("source", help="a Zarr of readings that may grow, or - for standard input")
    parser.add_argument("--state", type=Path, help="file of the state; by default in the folder")
    text = "wait for more readings of a Zarr, at most so long; 0: end there"
    parser.add_argument("--follow", type=float, default=0.0, metavar="SECONDS", help=text)
    options = parser.parse_args(arguments)
    try:
        trained = load(options.detector)
        state_file = options.state or options.detector / "state.json"
        state = load_state(state_file, trained.channels)
        if options.source == "-":
            units = from_stream(sys.stdin.buffer, trained.channels, state.time)
        else:
            units = from_zarr(options.source, trained.channels, state.time, options.follow)
        for unit in units:
            for alarm in watch(trained.network, trained.limits, state, unit):
                seconds = {"seconds": alarm.onset / trained.rate}
                print(json.dumps({**asdict(alarm), **seconds}), flush=True)
            if state.time % UNIT == 0:
                write_whole(state_file, json.dumps(state.to_json()).encode())
    except InputError as error:
        say(f"detect: {one_line(str(error))}")
        return BAD_INPUT
    except BrokenPipeError:
        return 0
    return 0


def load_state(path: Path, channels: int) -> State:
    """Return a saved state, or that before anything was seen.

    Raises
    ------
    InputError
        If the file holds no state of so many channels.
    """
    if not path.exists():
        return first_state(channels)
    try:
        state = State.from_json(json.loads(path.read_text()))
        if state.units.shape[1] != channels:
            raise ValueError(f"{state.units.shape[1]} channels")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{path} is no state of a detector of {channels} channels ({error}); remove it to "
            "begin anew, or name another file with --state"
        ) from None
    return state


def from_stream(stream: Any, channels: int, seen: int) -> Iterator[np.ndarray]:
    """Yield whole windows of a stream as they come, which begins at time `seen`.

    No block goes beyond a unit; windows that have come together are one block.
    """
    window, waiting = 4 * channels * LENGTH, b""
    while part := stream.read1(4 * channels * UNIT):
        waiting += part
        while whole := min(len(waiting) // window, (UNIT - seen % UNIT) // LENGTH):
            size = whole * window
            block = np.frombuffer(waiting[:size], "<f4").reshape(-1, channels)
            waiting = waiting[size:]
            yield checked(block, seen)
            seen += len(block)


def from_zarr(path: str, channels: int, seen: int, patience: float) -> Iterator[np.ndarray]:
    """Yield whole units of a Zarr from time `seen` on, and of what is added to it."""
    waited = 0.0
    while True:
        dataset = ooc.open(path, target=False)
        if dataset.row_shape != (channels,):
            raise InputError(
                f"{path} has rows of shape {dataset.row_shape}, and the detector was trained on "
                f"{channels} channels; name the stream of that machine"
            )
        reader, there = open_reader(dataset, dataset.features), dataset.rows
        while seen + UNIT <= there:
            unit = np.empty((UNIT, channels), np.float32)
            reader.read_runs([(seen, seen + UNIT)], unit)
            yield checked(unit, seen)
            seen, waited = seen + UNIT, 0.0
        if waited >= patience:
            return
        time.sleep(min(0.2, patience))
        waited += 0.2


def checked(unit: np.ndarray, first: int) -> np.ndarray:
    """Return a unit; refuse one with a reading that is no number.

    Raises
    ------
    InputError
        If one is not: its time and channel are named.
    """
    if not np.isfinite(unit).all():
        time_, channel = np.argwhere(~np.isfinite(unit))[0]
        raise InputError(
            f"channel {channel} reads {unit[time_, channel]} at time {first + time_}; leave such "
            "readings out, or put the last good one in their place"
        )
    return unit
