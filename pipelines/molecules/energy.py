"""Energy and gradient of a Lennard-Jones cluster, and random numbers for compiled searches.

Lengths are in sigma and energies in epsilon: a pair of atoms at the distance r adds
4 (r^-12 - r^-6) (Jones 1924). Positions are (3, atoms), an axis a row, so that loops over atoms
vectorise.
"""

import numpy as np

from ooc.core.compiler import kernel
from ooc.core.hashing import GOLDEN, mix

# Squared distance of an atom to itself, as far as its energy is concerned: none.
ITSELF = 1e30
# Random starts: radius of the sphere by the cube root of the number of atoms, and how near two
# atoms may be at first. At the density of the solid the factor would be 0.55. From dense starts
# the lowest minima are found sooner; from loose ones more different minima are found.
DENSE, LOOSE, NEAREST = 0.65, 0.8, 0.7


@kernel
def energy_and_gradient(positions: np.ndarray, gradient: np.ndarray) -> float:
    """Return the energy of a cluster; fill `gradient` with its derivative.

    Every pair is visited from both sides: twice the work of visiting it once, but without a
    scattered write, so that the processor does several pairs at a time.

    Parameters
    ----------
    positions, gradient
        (3, atoms) float64, in sigma and in epsilon/sigma.

    Examples
    --------
    >>> energy_and_gradient(np.array([[0.0, 2 ** (1 / 6)], [0, 0], [0, 0]]), np.empty((3, 2)))
    -1.0
    """
    atoms, energy = positions.shape[1], 0.0
    for i in range(atoms):
        x, y, z = positions[0, i], positions[1, i], positions[2, i]
        along_x = along_y = along_z = 0.0
        for j in range(atoms):
            dx, dy, dz = x - positions[0, j], y - positions[1, j], z - positions[2, j]
            square = dx * dx + dy * dy + dz * dz
            if j == i:
                square = ITSELF
            inverse = 1.0 / square
            sixth = inverse * inverse * inverse
            energy += sixth * (sixth - 1.0)
            force = sixth * (1.0 - 2.0 * sixth) * inverse
            along_x += force * dx
            along_y += force * dy
            along_z += force * dz
        gradient[0, i] = 24.0 * along_x
        gradient[1, i] = 24.0 * along_y
        gradient[2, i] = 24.0 * along_z
    return 2.0 * energy


@kernel
def atom_energies(positions: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` (atoms,) with each atom's pair energies, whose sum is twice the cluster's."""
    atoms = positions.shape[1]
    for i in range(atoms):
        x, y, z, energy = positions[0, i], positions[1, i], positions[2, i], 0.0
        for j in range(atoms):
            dx, dy, dz = x - positions[0, j], y - positions[1, j], z - positions[2, j]
            square = dx * dx + dy * dy + dz * dz
            if j == i:
                square = ITSELF
            inverse = 1.0 / square
            sixth = inverse * inverse * inverse
            energy += sixth * (sixth - 1.0)
        out[i] = 4.0 * energy


@kernel
def centre(positions: np.ndarray) -> None:
    """Move the atoms' mean to the origin."""
    atoms = positions.shape[1]
    for axis in range(3):
        mean = 0.0
        for i in range(atoms):
            mean += positions[axis, i]
        mean /= atoms
        for i in range(atoms):
            positions[axis, i] -= mean


@kernel
def nearest_distance(positions: np.ndarray) -> float:
    """Return the mean over atoms of the distance to the nearest other atom."""
    atoms, total = positions.shape[1], 0.0
    for i in range(atoms):
        nearest = ITSELF
        for j in range(atoms):
            if j != i:
                square = 0.0
                for axis in range(3):
                    square += (positions[axis, i] - positions[axis, j]) ** 2
                nearest = min(nearest, square)
        total += np.sqrt(nearest)
    return total / atoms


@kernel
def uniform(state: np.ndarray) -> float:
    """Draw from [0, 1): SplitMix64, whose state is the one entry of `state` (uint64)."""
    state[0] += GOLDEN
    return np.float64(mix(state[0]) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel
def draw_on_sphere(state: np.ndarray, point: np.ndarray) -> None:
    """Fill `point` (3,) with a direction, uniform on the unit sphere."""
    height, angle = 2.0 * uniform(state) - 1.0, 2.0 * np.pi * uniform(state)
    ring = np.sqrt(max(0.0, 1.0 - height * height))
    point[0], point[1], point[2] = ring * np.cos(angle), ring * np.sin(angle), height


@kernel
def draw_start(state: np.ndarray, spread: float, positions: np.ndarray) -> None:
    """Fill `positions` with atoms uniform in a sphere, drawn again where two are too near.

    Parameters
    ----------
    state
        (1,) uint64, see `uniform`.
    spread
        `DENSE`, `LOOSE` or the like: the sphere's radius by the cube root of the atoms.
    positions
        (3, atoms) float64.
    """
    atoms, point = positions.shape[1], np.empty(3)
    radius = spread * atoms ** (1.0 / 3.0)
    placed = 0
    while placed < atoms:
        draw_on_sphere(state, point)
        distance, near = radius * uniform(state) ** (1.0 / 3.0), False
        for axis in range(3):
            point[axis] *= distance
        for j in range(placed):
            square = 0.0
            for axis in range(3):
                square += (point[axis] - positions[axis, j]) ** 2
            near = near or square < NEAREST * NEAREST
        if not near:
            for axis in range(3):
                positions[axis, placed] = point[axis]
            placed += 1
