"""DeepXDE on PyTorch: the same points, weights, network and stopping error as `pipelines.pinn`.

It learns a problem by Adam and then by L-BFGS, as its manual does, and stops where the error
against the reference is as small as asked for, or time is up. Called as
``python -m peers.deepxde_network JOB.npz RESULT.json``.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ADAM_STEPS = 2000
PER_STEP = 25  # evaluations of L-BFGS between looks at the error
EVERY = 25  # steps of Adam between them


def gradient(dde: Any, output: Any, inputs: Any, *by: int) -> Any:
    """Return a partial derivative of the network's one output."""
    for place in by:
        output = dde.grad.jacobian(output, inputs, i=0, j=place)
    return output


def equations(dde: Any) -> dict[str, Any]:
    """Return the equation inside of each problem."""

    def beam(x: Any, w: Any) -> Any:
        return gradient(dde, w, x, 0, 0, 0, 0) - 1.0

    def poisson(x: Any, u: Any) -> Any:
        return gradient(dde, u, x, 0, 0) + gradient(dde, u, x, 1, 1) + 1.0

    def plasma(x: Any, u: Any) -> Any:
        radius, elongated = x[:, 0:1], 1.0 + 1.0 / 1.7**2
        along = gradient(dde, u, x, 0)
        curved = gradient(dde, u, x, 0, 0) + gradient(dde, u, x, 1, 1)
        return curved - along / radius - elongated * radius**2

    return {"cantilever-load": beam, "poisson-ell": poisson, "plasma": plasma}


def conditions(dde: Any, name: str, edges: dict[int, np.ndarray]) -> list[Any]:
    """Return the conditions of each piece of the boundary, in the order of ooc's terms."""
    if name != "cantilever-load":
        return [dde.icbc.PointSetBC(each, np.zeros((len(each), 1))) for each in edges.values()]
    left, right = edges[1], edges[2]

    def order(count: int) -> Any:
        return lambda x, w, _: gradient(dde, w, x, *(0,) * count)

    zero = np.zeros((len(left), 1))
    return [
        dde.icbc.PointSetBC(left, zero),
        dde.icbc.PointSetOperatorBC(left, zero, order(1)),
        dde.icbc.PointSetOperatorBC(right, np.zeros((len(right), 1)), order(2)),
        dde.icbc.PointSetOperatorBC(right, np.zeros((len(right), 1)), order(3)),
    ]


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
    cloud = dde.geometry.PointCloud(inside)
    data = dde.data.PDE(
        cloud, equations(dde)[name], conditions(dde, name, edges), num_domain=0, anchors=inside
    )
    layers = [places.shape[1], *job["hidden"].tolist(), 1]
    network = dde.nn.FNN(layers, "tanh", "Glorot uniform")
    low, high = job["bounds"].T
    centre, factor = torch.from_numpy((low + high) / 2), torch.from_numpy(2 / (high - low))
    network.apply_feature_transform(lambda x: (x - centre) * factor)
    model = dde.Model(data, network)
    judged, known = job["judged"], job["known"]

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
                found = network(torch.from_numpy(judged)).numpy()[:, 0]
            self.error = float(np.linalg.norm(found - known) / np.linalg.norm(known))
            seconds = now - self.begun - self.looked
            self.trace.append((seconds, self.error))
            if self.error <= target or seconds > limit:
                model.stop_training = True
            self.looked += time.perf_counter() - now

    watch = Watch()
    weights = job["weights"].tolist()
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
