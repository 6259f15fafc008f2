"""Basin hopping from random starts: a search is one compiled call, threads share searches.

Wales and Doye ("Global optimization by basin-hopping", 1997): displace all atoms, minimise, accept
by Metropolis' rule on the minima. Atoms that are bound weakly go to a random place on the surface
instead, the displacement adapts until half of the moves are accepted, and a walk that has not got
lower for a while is begun anew: on the double funnel of 38 atoms most walks end in the wrong one.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ooc.core.compiler import kernel
from ooc.core.random_keys import Purpose, key
from pipelines.molecules.energy import (
    DENSE,
    atom_energies,
    centre,
    draw_on_sphere,
    draw_start,
    uniform,
)
from pipelines.molecules.minimisers import minimise_lbfgs

# Energies of the global minima in epsilon, from the Cambridge Cluster Database (Wales et al.).
PUBLISHED = {13: -44.326801, 38: -173.928427, 55: -279.248470}
AS_PUBLISHED = 1e-6
TEMPERATURE = 0.8
# Displacements of a coordinate, in sigma: the first, and how far they adapt.
STEP, SHORTEST_STEP, LONGEST_STEP = 0.4, 0.2, 0.6
ADAPT_EVERY, ADAPT_BY = 50, 1.05
# An atom goes to the surface if it binds with less than this share of what the best-bound does.
WEAK = 0.4
PATIENCE = 200
# Minima on the way are as good as the walk needs; the best is minimised to TOLERANCE at the end.
ROUGH_TOLERANCE, TOLERANCE = 1e-3, 1e-8
MOST_EVALUATIONS = 10_000
# A walk stops at most this far above the energy that it is to reach: it is polished afterwards.
NEAR = 1e-4


@dataclass(frozen=True)
class Found:
    """The best minimum of one search.

    Attributes
    ----------
    positions
        (3, atoms) float64, in sigma.
    energy, gradient_norm
        In epsilon and epsilon/sigma, after minimisation to `TOLERANCE`.
    quenches, evaluations
        Local minimisations, and energies and gradients that they took.
    """

    positions: np.ndarray
    energy: float
    gradient_norm: float
    quenches: int
    evaluations: int

    @property
    def error(self) -> float:
        """How far the energy is above the published one, in epsilon."""
        return self.energy - PUBLISHED[self.positions.shape[1]]

    @property
    def is_global(self) -> bool:
        """Whether it is the published minimum, converged."""
        return abs(self.error) <= AS_PUBLISHED and self.gradient_norm < TOLERANCE


@kernel
def _move(state: np.ndarray, step: float, positions: np.ndarray, energies: np.ndarray) -> None:
    """Displace the atoms; those that are bound weakly go to a random place on the surface."""
    atoms, point = positions.shape[1], np.empty(3)
    centre(positions)
    atom_energies(positions, energies)
    weakest = radius = 0.0
    for i in range(atoms):
        weakest = min(weakest, WEAK * energies[i])
        square = 0.0
        for axis in range(3):
            square += positions[axis, i] ** 2
        radius = max(radius, np.sqrt(square))
    for i in range(atoms):
        if energies[i] > weakest:
            draw_on_sphere(state, point)
            for axis in range(3):
                positions[axis, i] = radius * point[axis]
        else:
            for axis in range(3):
                positions[axis, i] += step * (2.0 * uniform(state) - 1.0)


@kernel
def _copy(source: np.ndarray, out: np.ndarray) -> None:
    # Plain loops compile in a tenth of the time that an assignment of arrays takes.
    for axis in range(3):
        for i in range(out.shape[1]):
            out[axis, i] = source[axis, i]


@kernel
def hop(key: int, most_quenches: int, stop: float, best: np.ndarray) -> tuple[int, int]:
    """Search for the lowest minimum, which goes to `best`; return (quenches, evaluations).

    Parameters
    ----------
    key
        Key of everything random, as `ooc.core.random_keys.key` makes it.
    most_quenches
        Local minimisations after which to give up.
    stop
        Energy at which the search ends: it counts how long it took, and guides nothing.
    best
        (3, atoms) float64.
    """
    state = np.empty(1, np.uint64)
    state[0] = key
    here, trial = np.empty_like(best), np.empty_like(best)
    energies = np.empty(best.shape[1])
    lowest = walk_lowest = energy = np.inf
    step, unimproved, tried, accepted = STEP, PATIENCE, 0, 0
    quenches = evaluations = 0
    while quenches < most_quenches and lowest > stop:
        begins = unimproved >= PATIENCE
        if begins:
            draw_start(state, DENSE, trial)
            step, tried, accepted = STEP, 0, 0
            energy = walk_lowest = np.inf
        else:
            _copy(here, trial)
            _move(state, step, trial, energies)
        new, _, used = minimise_lbfgs(trial, ROUGH_TOLERANCE, MOST_EVALUATIONS)
        quenches += 1
        evaluations += used
        unimproved += 1
        takes = begins or new < energy or uniform(state) < np.exp((energy - new) / TEMPERATURE)
        if takes:
            energy = new
            _copy(trial, here)
        if not begins:
            tried += 1
            accepted += takes
            if tried == ADAPT_EVERY:
                step *= ADAPT_BY if 2 * accepted > tried else 1.0 / ADAPT_BY
                step = min(LONGEST_STEP, max(SHORTEST_STEP, step))
                tried, accepted = 0, 0
        if energy < walk_lowest - AS_PUBLISHED:
            walk_lowest, unimproved = energy, 0
        if energy < lowest:
            lowest = energy
            _copy(here, best)
    return quenches, evaluations


def search(atoms: int, seed: int, index: int, most_quenches: int, stop: float = -np.inf) -> Found:
    """Search from random starts: a function of (seed, index) alone.

    Parameters
    ----------
    atoms
        Atoms of the cluster.
    most_quenches
        Local minimisations after which to give up.
    stop
        Energy at which to stop, in epsilon; it guides nothing.
    """
    best = np.empty((3, atoms))
    random = key(seed, Purpose.PARAMETERS, epoch=atoms, index=index)
    quenches, evaluations = hop(random, most_quenches, stop + NEAR, best)
    energy, norm, used = minimise_lbfgs(best, TOLERANCE, MOST_EVALUATIONS)
    return Found(best, energy, norm, quenches, evaluations + used)


def search_many(
    atoms: int, seed: int, searches: int, most_quenches: int, threads: int | None = None
) -> Sequence[Found]:
    """Search for a published minimum from independent starts, shared among threads."""
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        jobs = [
            pool.submit(search, atoms, seed, index, most_quenches, PUBLISHED[atoms])
            for index in range(searches)
        ]
        return [job.result() for job in jobs]
