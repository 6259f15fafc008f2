"""Do the jobs of four trades with ooc, and with what each trade would use otherwise.

Every way is a script in `tests/journeys/` that reads generated data in the trade's own format and
prints how good its model is on rows that it did not train on. All settings were chosen on data of
another seed, so that these rows are new to them, too. A line of each job tells what only to start
and to read everything once takes. Each runs in a process of its own, in turn, several rounds, on
cold data and with libraries that were loaded before; a first round, in which kernels are compiled
and modules cached, does not count. Seconds are from the start of the process to its end.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from peers.bench import forget_files, ignored_folder
from peers.environments import UnavailableError
from peers.journeys import (
    JOURNEYS,
    JOURNEYS_BY_NAME,
    READING_ALONE,
    Journey,
    Outcome,
    Way,
    run_way,
)
from peers.text import Parser, print_table

from ooc.core.errors import InputError
from ooc.core.sizes import format_size

# Of the data that are measured: `tests/journeys/generate.py` has another one for the tests.
SEED = 8


@dataclass
class Measured:
    """What was measured of one way of a job, round by round."""

    journey: Journey
    way: Way
    lines: int
    outcomes: list[Outcome] = field(default_factory=list)
    reason: str | None = None

    def median(self, name: str) -> float:
        """Return the median of one of the numbers of an outcome over the rounds."""
        return statistics.median(getattr(outcome, name) for outcome in self.outcomes)


def code_lines(script: Path) -> int:
    """Count the lines of a script but its docstring, comments and those that are empty."""
    text = script.read_text()
    code = text.split('"""', 2)[2] if text.startswith('"""') else text
    return sum(bool(line.strip()) and not line.startswith("#") for line in code.splitlines())


def made(folder: Path, trade: str, suffix: str, rows: int) -> Path:
    """Generate data of a trade, unless they are there."""
    path = folder / f"{trade}-{rows}-{SEED}.{suffix}"
    if not path.exists():
        print(f"making {path}", file=sys.stderr)
        partial = folder / f"partial-{trade}.{suffix}"
        command = [sys.executable, str(JOURNEYS / "generate.py"), trade, str(partial), str(rows)]
        command.append(str(SEED))
        subprocess.run(["rm", "-rf", str(partial)], check=True)
        subprocess.run(command, check=True)
        partial.rename(path)
    return path


def measure(journey: Journey, given: argparse.Namespace, folder: Path) -> list[Measured]:
    """Run all ways of a job in turn, a round that does not count first."""
    found = [Measured(journey, way, code_lines(JOURNEYS / way.script)) for way in journey.ways]
    rows = max(1, round(given.scale * journey.rows))
    data = {each.way.suffix: made(folder, journey.trade, each.way.suffix, rows) for each in found}
    for number in range(given.rounds + 1):
        for each in [each for each in found if each.reason is None]:
            forget_files([data[each.way.suffix]])
            try:
                outcome = run_way(each.way, data[each.way.suffix], given.timeout)
            except UnavailableError as error:
                each.reason = str(error)
                continue
            if number:
                each.outcomes.append(outcome)
            if not given.quiet:
                print(f"{each.way.name}: {asdict(outcome)}", file=sys.stderr)
    return found


HEADINGS = (
    "job",
    "done with",
    "lines",
    "held-out quality",
    "seconds",
    "spread",
    "core-seconds",
    "peak memory",
)


def cells_of(name: str, each: Measured) -> tuple[str, ...]:
    """Return a row of the table."""
    if not each.outcomes:
        return name, each.way.name, str(each.lines), "not measured", "", "", "", ""
    seconds = [outcome.seconds for outcome in each.outcomes]
    return (
        name,
        each.way.name,
        str(each.lines),
        _quality(each),
        f"{each.median('seconds'):.1f}",
        f"{min(seconds):.1f} to {max(seconds):.1f}",
        f"{each.median('core_seconds'):.1f}",
        format_size(int(each.median("peak_bytes"))),
    )


def _quality(each: Measured) -> str:
    metric, quality = each.outcomes[0].metric, each.median("quality")
    return f"{metric} {quality:.4f}" if each.way.name != READING_ALONE else f"{quality:,.0f} rows"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is timed")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual rows")
    parser.add_argument(
        "--journeys", nargs="*", choices=[*JOURNEYS_BY_NAME], default=[*JOURNEYS_BY_NAME],
        help="which jobs",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, default=Path("bench-data"), help="where data are made and kept"
    )
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all numbers")
    parser.add_argument("--quiet", action="store_true", help="do not print each run")
    given: argparse.Namespace = parser.parse_args(arguments)
    if given.rounds < 1 or given.scale <= 0:
        raise InputError("--rounds must be at least 1, and --scale above 0")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    try:
        given = _parse(arguments)
        folder = ignored_folder(given.folder)
        found: dict[str, list[Measured]] = {}
        for name in given.journeys:
            found[name] = measure(JOURNEYS_BY_NAME[name], given, folder)
        print_table(
            [HEADINGS, *(cells_of(name, each) for name, ways in found.items() for each in ways)]
        )
        for each in (each for ways in found.values() for each in ways):
            if each.reason is not None:
                print(f"{each.way.name} was not measured: {each.reason}")
        if given.json:
            report: dict[str, Any] = {
                name: {each.way.name: [asdict(one) for one in each.outcomes] for each in ways}
                for name, ways in found.items()
            }
            given.json.write_text(json.dumps(report, indent=1) + "\n")
    except (InputError, UnavailableError, OSError, subprocess.CalledProcessError) as error:
        print(f"scripts/bench_journeys: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
