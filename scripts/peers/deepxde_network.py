"""DeepXDE on PyTorch: the same points, weights, network and stopping error as `pipelines.pinn`.

It learns a problem by Adam and then by L-BFGS, as its manual does, and stops where the error
against the reference is as small as asked for, or time is up. Called as
``python -m peers.deepxde_network JOB.npz RESULT.json``.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peers.deepxde_problems import PROBLEMS, Residual

ADAM_STEPS = 2000
PER_STEP = 25  # evaluations of L-BFGS between looks at the error
EVERY = 25  # steps of Adam between them


def residuals_of(dde: Any, term: Sequence[Residual]) -> list[Any]:
    """Return functions of (inputs, outputs, anything) that give a term's residuals."""

    def bound(residual: Residual) -> Any:
        def found(x: Any, y: Any, *_: Any) -> Any:
            def slope(output: int, *by: int) -> Any:
                value, component = y, output
                for place in by:
                    value = dde.grad.jacobian(value, x, i=component, j=place)
                    component = 0
                return value

            return residual(slope, x, y)

        return found

    return [bound(each) for each in term]


def main(job_path: str, result_path: str) -> None:
    """Learn, and write seconds, error and how it ended."""
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde as dde
    import torch

    job = np.load(job_path)
    name, target, limit = str(job["name"]), float(job["target"]), float(job["limit"])
    dde.config.set_default_float("float64")
    dde.config.set_random_seed(int(job["seed"]))
    places, tags = job["places"], job["tags"]
    inside = places[tags == 0]
    edges = {int(tag): places[tags == tag] for tag in np.unique(tags) if tag}
    stated = PROBLEMS[name]()
    equations = [each for term in stated.inside for each in residuals_of(dde, term)]
    conditions = [
        dde.icbc.PointSetOperatorBC(edges[tag], np.zeros((len(edges[tag]), 1)), each)
        for tag, terms in enumerate(stated.edges, start=1)
        for term in terms
        for each in residuals_of(dde, term)
    ]
    cloud = dde.geometry.PointCloud(inside)
    data = dde.data.PDE(
        cloud, lambda x, y: [each(x, y) for each in equations], conditions, num_domain=0,
        anchors=inside,
    )  # fmt: skip
    layers = [places.shape[1], *job["hidden"].tolist(), stated.outputs]
    network = dde.nn.FNN(layers, "tanh", "Glorot uniform")
    low, high = job["bounds"].T
    centre, factor = torch.from_numpy((low + high) / 2), torch.from_numpy(2 / (high - low))
    network.apply_feature_transform(lambda x: (x - centre) * factor)
    model = dde.Model(data, network)
    judged, known, which = torch.from_numpy(job["judged"]), job["known"], job["outputs"]

    class Watch(dde.callbacks.Callback):
        """Stops where the error is small enough, or time is up; its own time does not count."""

        begun, looked, error, steps = time.perf_counter(), 0.0, np.inf, 0
        trace: list[tuple[float, float]] = []  # noqa: RUF012  one run a process

        def on_epoch_end(self) -> None:
            self.steps += 1
            if model.opt_name == "L-BFGS" or self.steps % EVERY == 0:
                self.look()

        def look(self) -> None:
            now = time.perf_counter()
            with torch.no_grad():
                found = network(judged).numpy()[np.arange(len(which)), which]
            self.error = float(np.linalg.norm(found - known) / np.linalg.norm(known))
            seconds = now - self.begun - self.looked
            self.trace.append((seconds, self.error))
            if self.error <= target or seconds > limit:
                model.stop_training = True
            self.looked += time.perf_counter() - now

    watch = Watch()
    terms = [*stated.inside, *(term for terms in stated.edges for term in terms)]
    weights = np.repeat(job["weights"], [len(term) for term in terms]).tolist()
    common = {"callbacks": [watch], "display_every": 10**9, "verbose": 0}
    model.compile("adam", lr=float(job["lr"]), loss_weights=weights, verbose=0)
    watch.begun = time.perf_counter()
    model.train(iterations=ADAM_STEPS, **common)
    if not model.stop_training:
        dde.optimizers.config.set_LBFGS_options(maxcor=50, ftol=0, gtol=0, maxiter=10**6)
        dde.optimizers.config.LBFGS_options["iter_per_step"] = PER_STEP
        model.compile("L-BFGS", loss_weights=weights, verbose=0)
        model.train(**common)
    seconds, error = watch.trace[-1]
    found = {
        "seconds": seconds, "error": error, "met": error <= target, "trace": watch.trace,
        "version": f"DeepXDE {dde.__version__}, PyTorch {torch.__version__}",
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    Path(result_path).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
