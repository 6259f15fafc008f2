"""What the slowest machine costs synchronous descent, and what spare lanes buy back.

Steps wait for every machine; with spare lanes, for the first of them. A simulator follows steps
event by event, for machines that are slow at random and one that is ten times slower. It is held
to closed forms, and to steps of real worker processes that are slowed down alike; descent itself
says how many steps a loss takes. Both together are the time to the loss, on up to 1,024 workers:
with all rows in each step, with mini-batches, and with spare lanes.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ooc.core.errors import InputError
from pipelines.common.arguments import Parser
from pipelines.common.command import carry_out
from pipelines.common.section import Section
from pipelines.stragglers import closed_forms, scale, steps_to_loss
from pipelines.stragglers.calibration import FULL, QUICK, calibrate


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Hold the simulator to theory and to real workers, then go where no real ones are."""
    if not 0 < options.batch_seconds < float("inf"):
        raise InputError(f"a mini-batch takes a positive time, not {options.batch_seconds} s")
    quick, seed = options.quick, options.seed
    steps, share = (2_000, 0.08) if quick else (40_000, 0.02)
    yield closed_forms.compare(seed, steps, share)
    with tempfile.TemporaryDirectory(prefix="stragglers-") as name:
        folder = Path(name)
        costs, section = calibrate(folder, QUICK if quick else FULL)
        yield section
        descents = steps_to_loss.count_steps(folder, 2**15 if quick else 2**18, seed)
        yield steps_to_loss.section_of(descents)
    seconds = options.batch_seconds
    points = scale.simulate_all(descents, costs, seconds, seed, 100 if quick else 2_000)
    section = scale.section_of(points, costs, seconds)
    if options.folder is not None:
        section.pictures[0].save(options.folder)
    yield section


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status."""
    parser = Parser("stragglers", str(__doc__), quick={})
    parser.add_argument("--folder", type=Path, help="for the figure")
    parser.add_argument("--seed", type=int, default=0, help="of delays and rows")
    parser.add_argument(
        "--batch-seconds", type=float, default=240.0, help="that a mini-batch takes one machine"
    )
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
