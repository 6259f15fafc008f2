"""Laws of descent, measured.

Closed forms of mini-batch descent beside what the loader and the trainer did: variance of the
gradient against the batch size, what N/B updates buy, sorted rows, stationary variance and
temperature, momentum, reshuffling, learning rate against batch size, and escape from a well. All
noise is that of sampled rows. Errors are standard errors of the measured value.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.common.arguments import Parser
from pipelines.common.command import carry_out
from pipelines.common.section import Section
from pipelines.descent_laws import (
    escape_times,
    gradient_variance,
    gradient_work,
    rate_and_batch_size,
    sorted_rows,
    stationary_variance,
    well_occupation,
)
from pipelines.descent_laws.laws import FULL, QUICK, Measure

FAMILIES: dict[str, Measure] = {
    "variance": gradient_variance.measure,
    "work": gradient_work.measure,
    "sorted": sorted_rows.measure,
    "stationary": stationary_variance.measure,
    "rates": rate_and_batch_size.measure,
    "escape": escape_times.measure,
    "wells": well_occupation.measure,
}


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Measure families of laws, each on data in a temporary folder."""
    effort = QUICK if options.quick else FULL
    if options.quick:
        wider = f"Runs are short, with tolerances {effort.widen:g} times as wide."
        yield Section("A quick run: " + wider)
    for name in options.only or FAMILIES:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="descent-laws-") as folder:
            yield from FAMILIES[name](Path(folder), effort)
        print(f"{name}: {time.perf_counter() - begun:.0f} seconds", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status."""
    parser = Parser("descent_laws", str(__doc__), quick={})
    parser.add_argument(
        "--only", nargs="+", choices=FAMILIES, metavar="FAMILY", help=f"of {', '.join(FAMILIES)}"
    )
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
