"""scikit-fem on two problems of `pipelines.pinn`: quadratic triangles, refined to a target error.

Called as ``python -m peers.finite_elements JOB.npz RESULT.json``; each refinement is timed as a
whole: mesh, assembly and solution.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REFINEMENTS = 8
SIDE, POISSON = 4.0, 0.3  # of the plate, whose hole has a radius of 1


def solve_ell(refinement: int) -> tuple[Any, np.ndarray]:
    """Solve Poisson's equation on the L, refined towards its corner; return basis and values."""
    import skfem
    from skfem.models.poisson import laplace, unit_load

    square = skfem.MeshTri.init_tensor(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5))
    centres = square.p[:, square.t].mean(axis=1)
    mesh = square.remove_elements(np.nonzero((centres[0] > 0) & (centres[1] < 0))[0])
    for _ in range(refinement):
        near = np.hypot(*mesh.p[:, mesh.t].mean(axis=1)) < 0.5
        mesh = mesh.refined(np.nonzero(near)[0]).refined()
    basis = skfem.Basis(mesh, skfem.ElementTriP2())
    matrix, load = laplace.assemble(basis), unit_load.assemble(basis)
    return basis, skfem.solve(*skfem.condense(matrix, load, D=basis.get_dofs()))


def solve_plate(refinement: int) -> tuple[Any, np.ndarray]:
    """Solve the quarter of a plate with a hole in plane stress; return basis and values."""
    import skfem
    from skfem.models.elasticity import linear_elasticity

    count = 4 * 2**refinement
    mesh = skfem.MeshTri.init_tensor(np.linspace(0, 1, count + 1), np.linspace(0, 1, count + 1))
    angle, out = mesh.p[1] * np.pi / 2, mesh.p[0] ** 1.5
    hole = np.stack([np.cos(angle), np.sin(angle)])
    edge = SIDE * hole / np.abs(hole).max(axis=0)
    # A point on an edge is in the mesh: no corner is off by a rounding.
    mesh = skfem.MeshTri(np.round(hole + out * (edge - hole), 12), mesh.t).with_boundaries(
        {
            "left": lambda x: x[0] < 1e-9,
            "lower": lambda x: x[1] < 1e-9,
            "right": lambda x: x[0] > SIDE - 1e-9,
            "upper": lambda x: x[1] > SIDE - 1e-9,
        }
    )
    element = skfem.ElementVector(skfem.ElementTriP2())
    basis = skfem.Basis(mesh, element)
    shear = 1 / (2 * (1 + POISSON))
    matrix = linear_elasticity(POISSON / (1 - POISSON**2), shear).assemble(basis)

    @skfem.LinearForm
    def traction(v: Any, w: Any) -> Any:
        xx, yy, xy = stresses(w.x[0], w.x[1])
        return (xx * w.n[0] + xy * w.n[1]) * v[0] + (xy * w.n[0] + yy * w.n[1]) * v[1]

    load = sum(
        traction.assemble(skfem.FacetBasis(mesh, element, facets=mesh.boundaries[name]))
        for name in ("right", "upper")
    )
    fixed = np.concatenate(
        [
            basis.get_dofs("left").all(["u^1", "u^1"]),
            basis.get_dofs("lower").all(["u^2", "u^2"]),
        ]
    )
    return basis, skfem.solve(*skfem.condense(matrix, load, D=fixed))


def stresses(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Kirsch's stresses xx, yy and xy, which the plate's outer edges bear."""
    near, double = 1 / (x * x + y * y), 2 * np.arctan2(y, x)
    cos2, sin2, cos4, sin4 = np.cos(double), np.sin(double), np.cos(2 * double), np.sin(2 * double)
    return (
        1 - near * (1.5 * cos2 + cos4) + 1.5 * near**2 * cos4,
        -near * (0.5 * cos2 - cos4) - 1.5 * near**2 * cos4,
        -near * (0.5 * sin2 + sin4) + 1.5 * near**2 * sin4,
    )


SOLVERS: dict[str, Callable[[int], tuple[Any, np.ndarray]]] = {
    "poisson-ell": solve_ell,
    "plate": solve_plate,
}


def main(job_path: str, result_path: str) -> None:
    """Refine until the error at the judged points is as small as asked for."""
    import skfem

    job = np.load(job_path)
    judged, known, target, of = job["judged"], job["known"], float(job["target"]), job["outputs"]
    trace, solver = list[tuple[float, float, int]](), SOLVERS[str(job["name"])]
    for refinement in range(REFINEMENTS):
        begun = time.perf_counter()
        basis, values = solver(refinement)
        seconds = time.perf_counter() - begun
        # Values of several outputs come one output after the other.
        outputs = basis.probes(judged.T) @ values
        found = outputs.reshape(-1, len(judged))[of, np.arange(len(judged))]
        error = float(np.linalg.norm(found - known) / np.linalg.norm(known))
        trace.append((seconds, error, int(values.size)))
        if error <= target:
            break
    seconds, error, unknowns = trace[-1]
    result = {
        "seconds": seconds, "error": error, "met": error <= target, "unknowns": unknowns,
        "trace": trace, "version": f"scikit-fem {skfem.__version__}",
    }  # fmt: skip
    Path(result_path).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
