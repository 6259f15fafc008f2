"""Times physics-informed networks to an equal error: ooc, DeepXDE on PyTorch, and finite elements.

DeepXDE has the points, the weights, the network and the stopping error of ooc's first round, and is
given the same cores. What looks at the error is not counted on either side, nor is what is compiled
or imported. On the L scikit-fem stands beside both: where there is a mesh, use it.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from peers.environments import Environment, UnavailableError, run_checked

from ooc.core.machine import machine
from ooc.core.random_keys import Purpose, generator
from ooc.models.pinn import PINN
from pipelines.pinn.balance import weights
from pipelines.pinn.case import Case, grid
from pipelines.pinn.points import draw
from pipelines.pinn.problems import CASES
from pipelines.pinn.training import Training, reference_of, relative_error, solve

PEERS = Environment("deepxde", ("torch==2.13.0", "deepxde==1.15.0", "scikit-fem==12.0.2"))
# Problems, and the errors at which both stop.
TARGETS = {
    "cantilever-load": 1e-4, "plate": 1e-2, "poisson-ell": 3e-2, "burgers": 1e-2, "cavity": 5e-2,
    "plasma": 1e-3,
}  # fmt: skip
FINITE_ELEMENTS = ("plate", "poisson-ell")
JUDGED = {"plate": ("u", "v")}  # outputs, where they are not all that have a reference


@dataclass(frozen=True)
class Known:
    """Points (rows, D), which output is known of each, by number and (rows,), and its values."""

    points: np.ndarray
    outputs: np.ndarray
    values: np.ndarray

    def error(self, outputs: Mapping[str, np.ndarray]) -> float:
        """Return the relative L2 error of outputs at the points."""
        found = np.stack(list(outputs.values()))[self.outputs, np.arange(len(self.points))]
        return relative_error(found, self.values)


def known_of(case: Case) -> Known:
    """Return where errors are measured: the reference on a grid, or a published table."""
    problem = case.problem
    names = list(problem.outputs)
    if case.profiles:
        parts = [(each.output, each.points, each.values) for each in case.profiles]
    else:
        points = grid(problem, 501 if len(problem.geometry.bounds) == 1 else 81)
        reference = reference_of(problem, points)
        of = JUDGED.get(problem.name, tuple(reference))
        parts = [(name, points, reference[name]) for name in of]
    return Known(
        np.concatenate([points for _, points, _ in parts]),
        np.concatenate([np.full(len(points), names.index(name)) for name, points, _ in parts]),
        np.concatenate([values for *_, values in parts]),
    )


def time_ooc(case: Case, target: float, seed: int, lr: float, folder: Path) -> dict[str, Any]:
    """Return the seconds that training took to the error, and the error."""
    known = known_of(case)
    looked, found = 0.0, {"seconds": np.inf, "error": np.inf}
    begun = time.perf_counter()

    def watch(model: PINN, parameters: np.ndarray) -> bool:
        nonlocal looked
        now = time.perf_counter()
        error = known.error(model.predict(parameters, known.points))
        found.update(seconds=now - begun - looked, error=error)
        looked += time.perf_counter() - now
        return error <= target

    solve(case.problem, Training(folder, seed, case.rounds, case.passes, lr), watch)
    return {**found, "met": found["error"] <= target}


def write_job(case: Case, target: float, seed: int, lr: float, limit: float, path: Path) -> None:
    """Write what the peers need: the first round's points, weights and first parameters' shape."""
    problem, known = case.problem, known_of(case)
    points, model = draw(problem, generator(seed, Purpose.DATA)), problem.model()
    parameters = model.init(
        model.layout((len(model.coordinates),)), generator(seed, Purpose.PARAMETERS)
    )
    # A term of DeepXDE is a mean over its own points: what ooc divides by their share is left out.
    shares = np.array([np.mean(points.tags == tag) for tag in model.term_tags])
    own = np.array(weights(model, parameters, points, seed)) * shares
    np.savez(
        path, name=problem.name, places=points.places, tags=points.tags, weights=own,
        hidden=np.array(problem.hidden), bounds=np.array(problem.geometry.bounds),
        judged=known.points, outputs=known.outputs, known=known.values, target=target, limit=limit,
        seed=seed, lr=lr,
    )  # fmt: skip


def compare(case: Case, target: float, options: argparse.Namespace, python: Path) -> dict[str, Any]:
    """Time both in turn, seed by seed."""
    found: dict[str, list[Any]] = {"ooc": [], "deepxde": [], "scikit-fem": []}
    name = case.problem.name
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        time_ooc(case, 1e9, 0, options.lr, folder)  # compiles what is missing
        for seed in range(options.seeds):
            own = time_ooc(case, target, seed, options.lr, folder)
            found["ooc"].append(own)
            print(f"{name} to {target:g}, seed {seed}: {told('ooc', own)}", flush=True)
            job, result = folder / "job.npz", folder / "result.json"
            limit = options.limit * own["seconds"]
            write_job(case, target, seed, options.lr, limit, job)
            modules = {"deepxde": "peers.deepxde_network"}
            if name in FINITE_ELEMENTS:
                modules["scikit-fem"] = "peers.finite_elements"
            for peer, module in modules.items():
                run_checked([str(python), "-m", module, str(job), str(result)])
                found[peer].append(json.loads(result.read_text()))
                run = found[peer][-1]
                print(f"{name} to {target:g}, seed {seed}: {told(peer, run)}", flush=True)
    ratios = [
        b["seconds"] / a["seconds"] for a, b in zip(found["ooc"], found["deepxde"], strict=True)
    ]
    least = "" if all(run["met"] for run in found["deepxde"]) else "at least "
    print(f"{name}: DeepXDE takes {least}{statistics.median(ratios):.1f} times as long\n")
    return {"problem": name, "target": target, "ratios": ratios, **found}


def told(peer: str, run: dict[str, Any]) -> str:
    """Return a line on a run."""
    end = "" if run["met"] else ", not met"
    return f"{run.get('version', peer)}: {run['seconds']:.2f} s, error {run['error']:.2e}{end}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, and write what was found."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--only", default=",".join(TARGETS), help="problems")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--limit", type=float, default=10.0, help="times ooc's seconds that DeepXDE has"
    )
    parser.add_argument("--lr", type=float, default=1e-3, help="of Adam, for both")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    options = parser.parse_args(arguments)
    try:
        python = PEERS.install()
    except UnavailableError as error:
        print(f"DeepXDE is not there: {error}", file=sys.stderr)
        return 1
    cases = {case.problem.name: case for case in CASES}
    print(machine(), flush=True)
    found = [
        compare(replace(cases[name]), TARGETS[name], options, python)
        for name in options.only.split(",")
    ]
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
