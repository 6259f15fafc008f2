"""Laws of physics: networks that learn solids, flow and plasma from points instead of data.

A network is trained until it obeys a differential equation at points and conditions on a boundary;
nothing that it learns from holds a solution. Each problem's solution is known from elsewhere - a
closed form, a spectral solver, a published table - and only the judge sees it.
"""

import argparse
import runpy
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ooc.core.destination import local_path
from ooc.core.errors import InputError
from ooc.core.process import memory_numbers
from pipelines.common.arguments import Parser, add_data_options, check_memory
from pipelines.common.checks import Check, at_most
from pipelines.common.command import carry_out
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.pinn.case import Case, Judgement
from pipelines.pinn.figures import draw
from pipelines.pinn.problem import Problem
from pipelines.pinn.problems import CASES, QUICK_CASES
from pipelines.pinn.training import Solution, Training, solve

QUICK = {"seeds": 1}


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Solve each problem with each seed, judge, draw."""
    check_memory(options.memory)
    if options.seeds < 1 or options.batch_size < 2:
        raise InputError(
            f"{options.seeds} seeds with batches of {options.batch_size} are not possible: there "
            "is at least one seed, and a batch has at least 2 points"
        )
    for case in cases_of(options):
        if options.points is not None:
            case = replace(case, problem=replace(case.problem, points=options.points))
        yield _section(case, options)


def cases_of(options: argparse.Namespace) -> Sequence[Case]:
    """Return the cases that are asked for, or the problem of a file.

    Raises
    ------
    InputError
        If there is no such case, or the file has no problem.
    """
    known = {case.problem.name: case for case in (QUICK_CASES if options.quick else CASES)}
    if options.problem is not None:
        return (own_case(options.problem),)
    if not options.only:
        return tuple(known.values())
    unknown = [name for name in options.only.split(",") if name not in known]
    if unknown:
        raise InputError(f"there is no problem {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in options.only.split(","))


def own_case(path: Path) -> Case:
    """Return the problem of a file of one's own, which defines ``PROBLEM``.

    Raises
    ------
    InputError
        If the file is not there, or has none.
    """
    local_path(path, "problems")
    if not path.is_file():
        raise InputError(f"{path} does not exist; write a file that defines PROBLEM = Problem(...)")
    found = runpy.run_path(str(path)).get("PROBLEM")
    if not isinstance(found, Problem):
        raise InputError(f"{path} defines no PROBLEM = Problem(...), but {found!r}")
    return Case(found, lambda solution: (), rounds=2, passes=400)


def _section(case: Case, options: argparse.Namespace) -> Section:
    name, folder = case.problem.name, options.folder / case.problem.name
    solutions, judged = list[Solution](), list[tuple[Judgement, ...]]()
    for seed in range(options.seed, options.seed + options.seeds):
        shutil.rmtree(folder, ignore_errors=True)
        training = Training(
            folder, seed, case.rounds, case.passes, options.lr, options.batch_size, options.memory,
            options.dtype,
        )  # fmt: skip
        solutions.append(solve(case.problem, training))
        judged.append(case.judge(solutions[-1]))
    first = solutions[0]
    figure = draw(case, first)
    figure.save(options.folder)
    rows = len(first.points.tags)
    text = (
        f"{rows:,} points, {first.parameters.size:,} parameters, {first.rounds[-1]:,.0f} passes; "
        f"L-BFGS took over after {first.switch:,.0f}."
    )
    return Section(
        name, text, (_table(solutions, judged, options.seed),), (figure,), _checks(name, judged),
        {name: [_numbers(*each) for each in zip(solutions, judged, strict=True)]},
    )  # fmt: skip


def _table(
    solutions: Sequence[Solution], judged: Sequence[tuple[Judgement, ...]], first: int
) -> Table:
    names = [each.name for each in judged[0]] if judged[0] else ["loss"]
    rows = []
    for seed, (solution, numbers) in enumerate(zip(solutions, judged, strict=True), first):
        values = [each.value for each in numbers] or [solution.run.results["loss"]]
        cells = [f"{value:.2e}" for value in values]
        rows.append((str(seed), f"{solution.seconds:.1f}", f"{solution.switch:.0f}", *cells))
    return Table("seeds", ("seed", "seconds", "switch", *names), tuple(rows))


def _checks(name: str, judged: Sequence[tuple[Judgement, ...]]) -> tuple[Check, ...]:
    """Hold the seed to a bound that has to meet it: the fourth best of five."""
    place = max(0, -(-len(judged) * 4 // 5) - 1)
    found = []
    for numbers in zip(*judged, strict=True):
        value = sorted(each.value for each in numbers)[place]
        of = f", seed {place + 1} of {len(judged)} by rank" if len(judged) > 1 else ""
        found.append(at_most(f"{name}: {numbers[0].name}{of}", value, numbers[0].bound))
    return tuple(found)


def _numbers(solution: Solution, judged: tuple[Judgement, ...]) -> dict[str, object]:
    return {
        "seconds": solution.seconds,
        "switch": solution.switch,
        "passes": solution.rounds[-1],
        "points": len(solution.points.tags),
        "parameters": solution.parameters.size,
        "memory_peak_bytes": memory_numbers(0, 0)["memory_peak_bytes"],
        "terms": dict(solution.history[-1].terms) if solution.history else {},
        **{each.name: each.value for each in judged},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status."""
    parser = Parser("pinn", str(__doc__), QUICK)
    parser.add_argument(
        "--only", default="", metavar="NAMES", help="problems, such as plate,plasma"
    )
    parser.add_argument(
        "--problem", type=Path, metavar="FILE.py", help="a problem of one's own, instead of these"
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each problem")
    parser.add_argument("--points", type=int, help="points inside, instead of each problem's own")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of Adam")
    parser.add_argument("--batch-size", type=int, default=64, help="points of a step of Adam")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    add_data_options(parser, "pinn-data", "1GiB")
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
