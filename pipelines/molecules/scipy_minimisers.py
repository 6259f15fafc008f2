"""The same minimisations by SciPy, driving an energy in NumPy: what the compiled loop is beside."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ooc.core.blas import one_thread
from pipelines.molecules.energy import energy_and_gradient
from pipelines.molecules.minimisers import MEMORY, minimise_cg, minimise_lbfgs

TOLERANCE = 1e-8
MOST_EVALUATIONS = 10_000

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]
Compiled = Callable[[np.ndarray, float, int], tuple[float, float, int]]
Minimise = Callable[[np.ndarray], tuple[float, float, int]]


def numpy_energy_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the energy and gradient (3 atoms,) of positions (3 atoms,), in NumPy alone."""
    positions = flat.reshape(3, -1)
    apart = positions[:, :, None] - positions[:, None, :]
    square = np.einsum("kij,kij->ij", apart, apart)
    np.fill_diagonal(square, np.inf)
    inverse = 1 / square
    sixth = inverse**3
    energy = 2 * np.sum(sixth * (sixth - 1))
    force = 24 * sixth * (1 - 2 * sixth) * inverse
    return float(energy), np.einsum("ij,kij->ki", force, apart).reshape(-1)


def compiled_energy_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the same by the compiled kernel."""
    gradient = np.empty((3, flat.size // 3))
    return energy_and_gradient(flat.reshape(3, -1), gradient), gradient.reshape(-1)


@dataclass(frozen=True)
class Timed:
    """How one way minimised from a number of starts.

    Attributes
    ----------
    seconds
        Of a minimisation, the median, on one thread.
    times_slower
        Than the compiled twin, which goes on to `TOLERANCE` even where this way does not.
    times_slower_to_its_norm
        Than the compiled twin that stops at the gradient norm that this way reached: the median.
    evaluations
        Of a minimisation, the mean.
    converged
        How many reached the tolerance.
    energies, gradient_norms
        (starts,) of what was reached.
    """

    label: str
    atoms: int
    seconds: float
    times_slower: float
    times_slower_to_its_norm: float
    evaluations: float
    converged: int
    energies: np.ndarray
    gradient_norms: np.ndarray


def scipy_minimise(
    method: str, objective: Objective, start: np.ndarray
) -> tuple[float, float, int]:
    """Minimise by SciPy's "L-BFGS-B" or "CG"; return (energy, gradient norm, evaluations).

    It may end above the tolerance: where energies differ by rounding alone, its line searches
    find no lower one, and give up.
    """
    from scipy.optimize import minimize

    options: dict[str, float] = {"gtol": TOLERANCE, "maxiter": MOST_EVALUATIONS}
    if method == "CG":
        options["norm"] = 2
    else:
        # It looks at the largest entry of the gradient, and at energies unless told otherwise.
        options |= {"gtol": TOLERANCE / np.sqrt(start.size), "ftol": 0.0, "maxcor": MEMORY}
        options["maxfun"] = MOST_EVALUATIONS
    flat = start.reshape(-1)
    result = minimize(objective, flat, jac=True, method=method, options=options)
    return float(result.fun), float(np.linalg.norm(result.jac)), int(result.nfev)


def compare(starts: Sequence[np.ndarray]) -> list[Timed]:
    """Minimise from the same starts by compiled loops and by SciPy; BLAS has one thread."""
    ways: dict[str, tuple[Minimise, Compiled]] = {
        "compiled L-BFGS": (partial(_compiled, minimise_lbfgs), minimise_lbfgs),
        "compiled CG": (partial(_compiled, minimise_cg), minimise_cg),
    }
    for label, method, objective, twin in (
        ("SciPy L-BFGS-B, NumPy energy", "L-BFGS-B", numpy_energy_and_gradient, minimise_lbfgs),
        ("SciPy CG, NumPy energy", "CG", numpy_energy_and_gradient, minimise_cg),
        (
            "SciPy L-BFGS-B, compiled energy",
            "L-BFGS-B",
            compiled_energy_and_gradient,
            minimise_lbfgs,
        ),
    ):
        ways[label] = (partial(scipy_minimise, method, objective), twin)
    with one_thread():
        return [_timed(label, *way, starts) for label, way in ways.items()]


def _compiled(
    minimise: Compiled, start: np.ndarray, tolerance: float = TOLERANCE
) -> tuple[float, float, int]:
    return minimise(start.copy(), tolerance, MOST_EVALUATIONS)


def _timed(label: str, minimise: Minimise, twin: Compiled, starts: Sequence[np.ndarray]) -> Timed:
    minimise(starts[0])
    found, seconds, twin_seconds, ratios = [], [], [], []
    for start in starts:
        begun = time.perf_counter()
        found.append(minimise(start))
        ended = time.perf_counter()
        _compiled(twin, start)
        to_the_end = time.perf_counter()
        _compiled(twin, start, max(TOLERANCE, found[-1][1]))
        to_its_norm = time.perf_counter() - to_the_end
        seconds.append(ended - begun)
        twin_seconds.append(to_the_end - ended)
        ratios.append(seconds[-1] / to_its_norm)
    energies, norms, evaluations = np.array(found).T
    return Timed(
        label=label,
        atoms=starts[0].shape[1],
        seconds=float(np.median(seconds)),
        times_slower=float(np.median(seconds) / np.median(twin_seconds)),
        times_slower_to_its_norm=float(np.median(ratios)),
        evaluations=float(evaluations.mean()),
        converged=int(np.count_nonzero(norms < TOLERANCE)),
        energies=energies,
        gradient_norms=norms,
    )
