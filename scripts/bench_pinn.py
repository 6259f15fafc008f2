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
from collections.abc import Sequence
from dataclasses import replace
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
TARGETS = {"cantilever-load": 1e-4, "plasma": 1e-3, "poisson-ell": 3e-2}


def judged_of(case: Case) -> np.ndarray:
    """Return the points at which errors are measured."""
    return grid(case.problem, 501 if len(case.problem.geometry.bounds) == 1 else 81)


def time_ooc(case: Case, target: float, seed: int, lr: float, folder: Path) -> dict[str, Any]:
    """Return the seconds that training took to the error, and the error."""
    points = judged_of(case)
    (name,) = case.problem.outputs
    known = reference_of(case.problem, points)[name]
    looked, found = 0.0, {"seconds": np.inf, "error": np.inf}
    begun = time.perf_counter()

    def watch(model: PINN, parameters: np.ndarray) -> bool:
        nonlocal looked
        now = time.perf_counter()
        error = relative_error(model.predict(parameters, points)[name], known)
        found.update(seconds=now - begun - looked, error=error)
        looked += time.perf_counter() - now
        return error <= target

    solve(case.problem, Training(folder, seed, case.rounds, case.passes, lr), watch)
    return {**found, "met": found["error"] <= target}


def write_job(case: Case, target: float, seed: int, lr: float, limit: float, path: Path) -> None:
    """Write what the peers need: the first round's points, weights and first parameters' shape."""
    problem, judged = case.problem, judged_of(case)
    points, model = draw(problem, generator(seed, Purpose.DATA)), problem.model()
    parameters = model.init(
        model.layout((len(model.coordinates),)), generator(seed, Purpose.PARAMETERS)
    )
    # A term of DeepXDE is a mean over its own points: what ooc divides by their share is left out.
    shares = np.array([np.mean(points.tags == tag) for tag in model.term_tags])
    own = np.array(weights(model, parameters, points, seed)) * shares
    (name,) = problem.outputs
    np.savez(
        path, name=problem.name, places=points.places, tags=points.tags, weights=own,
        hidden=np.array(problem.hidden), bounds=np.array(problem.geometry.bounds), judged=judged,
        known=reference_of(problem, judged)[name], target=target, limit=limit, seed=seed, lr=lr,
    )  # fmt: skip


def compare(case: Case, target: float, options: argparse.Namespace, python: Path) -> dict[str, Any]:
    """Time both in turn, seed by seed."""
    found: dict[str, list[Any]] = {"ooc": [], "deepxde": [], "scikit-fem": []}
    name = case.problem.name
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        time_ooc(case, 1e9, 0, options.lr, folder)  # compiles what is missing
        for seed in range(options.seeds):
            found["ooc"].append(time_ooc(case, target, seed, options.lr, folder))
            print(f"{name} to {target:g}, seed {seed}: {told('ooc', found['ooc'][-1])}", flush=True)
            job, result = folder / "job.npz", folder / "result.json"
            write_job(case, target, seed, options.lr, options.limit, job)
            modules = {"deepxde": "peers.deepxde_network"}
            if name == "poisson-ell":
                modules["scikit-fem"] = "peers.skfem_poisson"
            for peer, module in modules.items():
                run_checked([str(python), "-m", module, str(job), str(result)])
                found[peer].append(json.loads(result.read_text()))
                run = found[peer][-1]
                print(f"{name} to {target:g}, seed {seed}: {told(peer, run)}", flush=True)
    ratios = [
        b["seconds"] / a["seconds"] for a, b in zip(found["ooc"], found["deepxde"], strict=True)
    ]
    print(f"{name}: DeepXDE takes {statistics.median(ratios):.1f} times as long\n")
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
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that DeepXDE has")
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
