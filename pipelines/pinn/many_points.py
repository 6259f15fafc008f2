"""Any number of points: drawn into a Zarr chunk by chunk, and streamed once by mini-batches.

``python -m pipelines.pinn.many_points --problem plasma --rows 100M`` shows that a problem learns
from points that no memory holds. It tests the pipeline: a network of a thousand parameters is
decided by thousands of points, and ``python -m pipelines.pinn`` is what solves problems.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import ooc
from ooc.core.errors import InputError
from ooc.core.progress import Report
from ooc.core.random_keys import Purpose, generator
from ooc.core.sizes import format_size, parse_count
from ooc.runs.run import Run
from pipelines.common.arguments import (
    Parser,
    add_data_options,
    add_training_options,
    check_memory,
    check_training,
)
from pipelines.common.checks import at_most, inside_budget
from pipelines.common.command import carry_out
from pipelines.common.dataset import (
    Columns,
    Dataset,
    decoded_bytes,
    open_or_make,
    progress,
    write,
)
from pipelines.common.section import Section
from pipelines.pinn.balance import weights
from pipelines.pinn.case import Case, grid
from pipelines.pinn.points import draw, fields_of
from pipelines.pinn.problem import Problem
from pipelines.pinn.problems import CASES
from pipelines.pinn.training import reference_of, relative_error

QUICK = {"rows": "1M", "error": 0.3}


def write_points(
    path: Path, problem: Problem, rows: int, seed: int, dtype: str, report: Report
) -> None:
    """Write points of a problem, as many of each tag as it has by itself, in random order."""
    fields = fields_of(len(problem.geometry.coordinates), dtype)
    edges = len(problem.conditions) * problem.edge_points
    share = edges / (problem.points + edges)

    def rows_of(number: int, first: int, count: int) -> Columns:
        rng = generator(seed, Purpose.DATA, index=number)
        each = max(1, round(count * share / len(problem.conditions)))
        inside = max(1, count - each * len(problem.conditions))
        points = draw(replace(problem, points=inside, edge_points=each), rng)
        return points.columns(dtype, rng.permutation(len(points.tags))[:count])

    write(path, fields, _attributes(problem, seed), rows, rows_of, report=report)


def learn(
    problem: Problem, dataset: Dataset, options: argparse.Namespace, report: Report
) -> tuple[Run, float]:
    """Descend by Adam on mini-batches of a dataset of points; return the run and its error.

    The error is the relative L2 error of all outputs of the reference, on a grid.
    """
    seed, model = options.seed, problem.model(options.dtype)
    sample = draw(problem, generator(seed, Purpose.HELD_OUT_DATA))
    layout = model.layout((len(model.coordinates),))
    parameters = model.init(layout, generator(seed, Purpose.PARAMETERS))
    model = replace(model, weights=weights(model, parameters, sample, seed), start=parameters)
    method = ooc.optim.adam(options.lr, schedule=ooc.optim.schedules.cosine())
    trainer = ooc.Trainer(model, method, options.batch_size, memory=options.memory, seed=seed)
    run = trainer.fit(dataset, options.epochs, report=report)
    points = grid(problem, 81)
    known, found = reference_of(problem, points), model.predict(run.parameters, points)
    both = (np.concatenate([each[name] for name in known]) for each in (found, known))
    return run, relative_error(*both)


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Write points, learn from them, tell the error, the rate and the peak of memory."""
    budget, rows = check_memory(options.memory), parse_count(options.rows)
    check_training(options, rows)
    problem = case_of(options.problem).problem
    path = options.folder / f"{problem.name}-{rows}-seed{options.seed}-{options.dtype}.zarr"
    expected = {**_attributes(problem, options.seed), "rows": rows}
    make = partial(write_points, path, problem, rows, options.seed, options.dtype)
    dataset = open_or_make(path, expected, make)
    with progress("train") as report:
        trained, error = learn(problem, dataset, options, report)
    results = trained.results
    text = (
        f"{rows:,} points, {format_size(decoded_bytes(dataset))}, in {results['seconds']:.0f} s: "
        f"{results['rows'] / results['seconds']:,.0f} points a second."
    )
    checks = (
        at_most(f"{problem.name}: relative L2 error after Adam alone", error, options.error),
        inside_budget(results["memory_peak_bytes"], budget),
    )
    numbers = {"rows": rows, "error": error, "seconds": results["seconds"]}
    yield Section(f"{problem.name} from many points", text, checks=checks, results=numbers)


def case_of(name: str) -> Case:
    """Return a case whose problem has a reference for all points.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    known = {each.problem.name: each for each in CASES if each.problem.reference is not None}
    if name not in known:
        raise InputError(f"there is no problem {name!r} with a reference; take {', '.join(known)}")
    return known[name]


def _attributes(problem: Problem, seed: int) -> dict[str, object]:
    return {"problem": problem.name, "tags": list(problem.tags), "seed": seed}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return its exit status."""
    parser = Parser("pinn.many_points", str(__doc__), QUICK)
    parser.add_argument("--problem", default="plasma", help="by its name")
    parser.add_argument("--rows", default="20M", help="points, of 18 bytes each in two dimensions")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float32")
    parser.add_argument("--error", type=float, default=0.05, help="that is not to be exceeded")
    add_training_options(parser, 256)
    add_data_options(parser, "pinn-data", "512MiB")
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
