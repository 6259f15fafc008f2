"""scikit-fem on the L of `pipelines.pinn`: quadratic triangles, refined towards the corner.

Called as ``python -m peers.skfem_poisson JOB.npz RESULT.json``; each refinement is timed as a
whole: mesh, assembly and solution.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np


def main(job_path: str, result_path: str) -> None:
    """Refine until the error at the judged points is as small as asked for."""
    import skfem
    from skfem.models.poisson import laplace, unit_load

    job = np.load(job_path)
    judged, known, target = job["judged"], job["known"], float(job["target"])
    trace = []
    for refinement in range(8):
        begun = time.perf_counter()
        square = skfem.MeshTri.init_tensor(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5))
        centres = square.p[:, square.t].mean(axis=1)
        mesh = square.remove_elements(np.nonzero((centres[0] > 0) & (centres[1] < 0))[0])
        for _ in range(refinement):
            mesh = mesh.refined(
                np.nonzero(np.hypot(*mesh.p[:, mesh.t].mean(axis=1)) < 0.5)[0]
            ).refined()
        basis = skfem.Basis(mesh, skfem.ElementTriP2())
        matrix, load = laplace.assemble(basis), unit_load.assemble(basis)
        values = skfem.solve(*skfem.condense(matrix, load, D=basis.get_dofs()))
        seconds = time.perf_counter() - begun
        found = basis.interpolator(values)(judged.T)
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
