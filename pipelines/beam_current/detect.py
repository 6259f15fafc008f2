"""Watch a stream as it arrives, and print its alarms as JSON lines.

A stream is standard input, readings as little-endian float32, one time after the other; or a Zarr
that grows, of which what is there is read, and then what is added, in whole chunks (or shards).
Memory does not grow with it.

At most once a second the detector's state is written, whole or not at all: killed and started
again, it goes on at the "time" that the state tells, which is where standard input is to begin. No
alarm is lost. On standard output those that were printed since the state was written come once
more, with the same channel, kind, onset and raised; in the file of ``--alarms`` each is there once,
as what was written after the state is cut off and found again.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.core.destination import write_whole
from ooc.core.errors import DataError, InputError
from ooc.core.terminal import one_line, say
from ooc.store.chunks import open_reader
from pipelines.beam_current.detector import watch
from pipelines.beam_current.network import LENGTH
from pipelines.beam_current.state import UNIT, State, first_state
from pipelines.beam_current.trained import load

BAD_INPUT, INTERRUPTED = 2, 130
KEEP = 1.0  # seconds from one state that is written to the next
LOOK = 0.2  # seconds from one look at a Zarr that grows to the next
WRITTEN = "alarm_bytes"  # of the file of alarms, in the file of the state


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
    text = "append alarms to a file instead, each once however often this is killed"
    parser.add_argument("--alarms", type=Path, metavar="FILE", help=text)
    options = parser.parse_args(arguments)
    try:
        with ExitStack() as stack:
            watch_stream(options, stack)
    except InputError as error:
        say(f"detect: {one_line(str(error))}")
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the alarms is gone
        return 0
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        say(f"detect: {one_line(f'{error.strerror or error}{where}')}")
        return BAD_INPUT
    return 0


def watch_stream(options: argparse.Namespace, stack: ExitStack) -> None:
    """Watch a stream to its end; keep the state and the alarms on the way."""
    if not options.follow >= 0:
        raise InputError(f"--follow is {options.follow:g}; it is a number of seconds, or inf")
    trained = load(options.detector)
    state_file = options.state or options.detector / "state.json"
    state, written = load_state(state_file, trained.channels)
    if options.alarms is None:
        tell, size_of = (lambda line: print(line, flush=True)), (lambda: written)
    else:
        tell, size_of = appended(options.alarms, written, stack)
    if options.source == "-":
        units = from_stream(sys.stdin.buffer, trained.channels, state.time)
    else:
        units = from_zarr(options.source, trained.channels, state.time, options.follow)

    def keep() -> None:
        told = {**state.to_json(), WRITTEN: size_of()}
        write_whole(state_file, json.dumps(told).encode())

    kept, is_kept = -KEEP, True
    for unit in units:
        for alarm in watch(trained.network, trained.limits, state, unit):
            tell(json.dumps({**asdict(alarm), "seconds": alarm.onset / trained.rate}))
        is_kept = False
        if time.monotonic() - kept >= KEEP:
            keep()
            kept, is_kept = time.monotonic(), True
    if not is_kept:
        keep()


def appended(
    path: Path, written: int, stack: ExitStack
) -> tuple[Callable[[str], None], Callable[[], int]]:
    """Return how a line is appended to a file, and how many bytes of it are on the disk for good.

    What is beyond `written` bytes is cut off first: the state was not yet kept when it was written.

    Raises
    ------
    InputError
        If the file is shorter than that.
    """
    file = stack.enter_context(path.open("ab"))
    if (size := file.tell()) < written:
        raise InputError(
            f"{path} has {size:,} bytes, and when the state was kept it had {written:,}; bring "
            "that file back, or remove the state to begin anew"
        )
    file.truncate(written)

    def tell(line: str) -> None:
        file.write(f"{line}\n".encode())
        file.flush()

    def size_of() -> int:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size

    return tell, size_of


def load_state(path: Path, channels: int) -> tuple[State, int]:
    """Return a saved state and how long the file of alarms was, or those before anything was seen.

    Raises
    ------
    InputError
        If the file holds no state of so many channels.
    """
    if not path.exists():
        return first_state(channels), 0
    try:
        saved = json.loads(path.read_text())
        written = int(saved.pop(WRITTEN))
        state = State.from_json(saved)
        if state.units.shape[1] != channels:
            raise ValueError(f"{state.units.shape[1]} channels")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"{path} is no state of a detector of {channels} channels ({error}); remove it to "
            "begin anew, or name another file with --state"
        ) from None
    return state, written


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
    """Yield a Zarr unit by unit from time `seen` on, and what is added to it.

    A writer makes the array longer before the chunks are there: one that is not is waited for, as
    long as for readings. Of a chunk that may still be filled nothing is read before the end.
    """
    waited = 0.0
    while True:
        dataset = ooc.open(path, target=False)
        if dataset.row_shape != (channels,):
            raise InputError(
                f"{path} has rows of shape {dataset.row_shape}, and the detector was trained on "
                f"{channels} channels; name the stream of that machine"
            )
        reader, there = open_reader(dataset, dataset.features), dataset.rows
        is_last_look = waited >= patience
        if not is_last_look:
            spec = dataset.arrays[dataset.features]
            there -= there % (spec.shards or spec.chunks)[0]
        while (end := end_of(seen, there, is_last_look)) is not None:
            unit = np.empty((end - seen, channels), np.float32)
            try:
                reader.read_runs([(seen, end)], unit)
            except DataError:
                if is_last_look:
                    raise
                break
            yield checked(unit, seen)
            seen, waited = end, 0.0
        if is_last_look:
            return
        time.sleep(min(LOOK, patience))
        waited += LOOK


def end_of(seen: int, there: int, is_last: bool) -> int | None:
    """Return up to which time to read: a unit's end, or at last that of the windows that are there.

    Examples
    --------
    >>> end_of(0, 9000, False), end_of(8192, 9000, False), end_of(8192, 9000, True)
    (8192, None, 8960)
    """
    end = seen - seen % UNIT + UNIT
    if end > there and is_last:
        end = there - (there - seen) % LENGTH
    return end if seen < end <= there else None


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
