"""A density laid over another one: rotation, hand and shift are found, as images do not tell them.

For judging what was found without poses, after the end: images stay the same if a density is
turned, with all poses, or if it is mirrored, with all poses turned by half about the line of sight.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ooc.core.compiler import kernel
from pipelines.cryo_em.bands import PADDING, Band
from pipelines.cryo_em.cuts import gather_slopes
from pipelines.cryo_em.density_sums import sphere
from pipelines.cryo_em.maps import fitted
from pipelines.cryo_em.orientations import angles_between, rotation_grid

SPACING, COARSE_RING, FINE_RING = 12.0, 6, 16  # of the search, degrees, and its bands
STARTS = 6  # orientations of the grid, of each hand, that are made better
FIRST_TURN, LAST_TURN = 6.0, 0.05  # degrees, as they are made better; a shift goes with each
# An image of a mirrored density is that of the density, turned by half in its plane.
HALF_TURN = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Alignment:
    """How a density that was found lies in another one.

    Attributes
    ----------
    rotation
        (3, 3), from the frame of what was found, mirrored if it is, to that of the other.
    shift
        (3,) voxels, x first: where its centre lies there.
    is_mirrored
        Whether what was found has the other hand.
    score
        Correlation of both, a mean over shells, from -1 to 1.
    """

    rotation: np.ndarray
    shift: np.ndarray
    is_mirrored: bool
    score: float

    def poses(self, rotations: np.ndarray) -> np.ndarray:
        """Return what rotations (rows, 3, 3) of the found density are of the other one."""
        turned = HALF_TURN @ rotations if self.is_mirrored else rotations
        found: np.ndarray = turned @ self.rotation.T
        return found

    def lay(self, volume: np.ndarray) -> np.ndarray:
        """Return a found density (box,)*3 as it lies in the other one, by cubic splines."""
        box = len(volume)
        # Between voxels it is known: splines interpolate what is sampled twice as fine.
        fine, _ = fitted(mirror(volume) if self.is_mirrored else volume, 1.0, 2 * box)
        back = self.rotation.T[::-1, ::-1]  # z first
        centre = np.full(3, float(box // 2)) + self.shift[::-1]
        found: np.ndarray = ndimage.affine_transform(
            fine, 2 * back, box - 2 * back @ centre, (box,) * 3, order=3
        )
        return found


def fit_poses(found: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Lay rotations (rows, 3, 3) over others by one turn of the density and its hand.

    It is the turn of the least squares of differences (Kabsch 1976), for each hand; what lies
    nearer in the median is returned.
    """
    best, least = found, math.inf
    for turned in (found, HALF_TURN @ found):
        left, _, right = np.linalg.svd(np.einsum("rij,rik->jk", turned, given))
        sign = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
        laid = turned @ (left @ sign @ right)
        median = float(np.median(angles_between(laid, given)))
        if median < least:
            best, least = laid, median
    return best


def mirror(volume: np.ndarray) -> np.ndarray:
    """Return a density (box,)*3 mirrored in its origin, at ``box // 2``.

    Examples
    --------
    >>> mirror(np.eye(4)[0].reshape(4, 1, 1) * np.ones((4, 4, 4)))[:, 0, 0].tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    turned = volume[::-1, ::-1, ::-1]
    found: np.ndarray = np.roll(turned, 1, (0, 1, 2)) if len(volume) % 2 == 0 else turned
    return found


def align(found: np.ndarray, truth: np.ndarray, near: Alignment | None = None) -> Alignment:
    """Lay a density over another one (box,)*3, by search over all rotations and both hands.

    Parameters
    ----------
    near
        Where it lies but for a little; then it is not looked for elsewhere.
    """
    box = len(truth)
    band = Band(min(FINE_RING, (box - 1) // 2), box, (1.0,) * (box // 2 + 1))
    mask = sphere(box)
    fine = Frequencies(band, truth * mask, band.last)
    coarse = Frequencies(band, truth * mask, min(COARSE_RING, band.last))
    grid = rotation_grid(SPACING)
    best = Alignment(np.eye(3), np.zeros(3), False, -math.inf)
    for is_mirrored in (False, True) if near is None else (near.is_mirrored,):
        turned = (mirror(found) if is_mirrored else found) * mask
        # What was found is turned: its transform is read at turned frequencies of the truth.
        transform = _transform(band, turned)
        if near is None:
            scores = coarse.scores(transform, grid, np.zeros(3))
            places = grid[np.argsort(-scores, kind="stable")[:STARTS]]
        else:
            places = near.rotation[None]
        for place in places:
            rotation, shift, _ = _climb(coarse, transform, place, np.zeros(3))
            rotation, shift, score = _climb(fine, transform, rotation, shift)
            if score > best.score:
                best = Alignment(rotation, shift, is_mirrored, score)
    return best


def _transform(band: Band, volume: np.ndarray) -> np.ndarray:
    """Return the transform of a density within a band, (M, M, M, 2) float32."""
    return band.transform(fitted(volume, 1.0, band.inner)[0])


class Frequencies:
    """The truth's coefficients in half of a ball, with which a turned density is compared."""

    def __init__(self, band: Band, truth: np.ndarray, last: int) -> None:
        reach = np.arange(-last, last + 1)
        z, y, x = (each.reshape(-1) for each in np.meshgrid(reach, reach, reach, indexing="ij"))
        shells = np.rint(np.sqrt(x**2 + y**2 + z**2)).astype(np.int64)
        half = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
        chosen = (shells > 0) & (shells <= last) & half
        self.places = np.stack([x, y, z], axis=1)[chosen]
        self.shells, self.last, self.box = shells[chosen], last, band.box
        self.values = np.empty((1, len(self.places)), np.complex64)
        look_up(_transform(band, truth), self.places, np.eye(3)[None], self.values)
        power = np.bincount(self.shells, np.abs(self.values[0]) ** 2)
        self.values /= np.sqrt(np.maximum(power, 1e-30))[self.shells]

    def scores(self, transform: np.ndarray, rotations: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Return how a density correlates in rotations (rotations, 3, 3) and a shift (3,)."""
        turned = np.exp(2j * np.pi / self.box * (self.places @ shift))
        own = self.values[0] * turned.astype(np.complex64)
        found = np.empty(len(rotations))
        value = np.empty((1, len(self.places)), np.complex64)
        for number, rotation in enumerate(rotations):
            look_up(transform, self.places, rotation.T[None], value)
            power = np.bincount(self.shells, np.abs(value[0]) ** 2)
            both = np.bincount(self.shells, (value[0] * own.conj()).real)
            # Each shell counts the same.
            found[number] = (both / np.sqrt(np.maximum(power, 1e-30)))[1:].mean()
        return found


@kernel
def look_up(
    transform: np.ndarray, places: np.ndarray, rotations: np.ndarray, out: np.ndarray
) -> None:
    """Fill (rotations, places) complex64 with a transform at turned frequencies.

    Parameters
    ----------
    transform
        (M, M, M, 2) float32, two samples a frequency.
    places
        (places, 3) int64, x first.
    rotations
        (rotations, 3, 3) float64.
    """
    work = np.empty(8)
    for r in range(rotations.shape[0]):
        turn = rotations[r]
        for p in range(places.shape[0]):
            kx, ky, kz = PADDING * places[p, 0], PADDING * places[p, 1], PADDING * places[p, 2]
            x = turn[0, 0] * kx + turn[0, 1] * ky + turn[0, 2] * kz
            y = turn[1, 0] * kx + turn[1, 1] * ky + turn[1, 2] * kz
            z = turn[2, 0] * kx + turn[2, 1] * ky + turn[2, 2] * kz
            gather_slopes(transform, z, y, x, work)
            out[r, p] = complex(work[0], work[1])


def _climb(
    truth: Frequencies, transform: np.ndarray, rotation: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Turn and shift by smaller and smaller steps along each axis for as long as that is better."""
    score = truth.scores(transform, rotation[None], shift)[0]
    turn = FIRST_TURN
    while turn > LAST_TURN:
        is_better = False
        for axis in range(3):
            for sign in (1, -1):
                step = np.zeros(3)
                step[axis] = sign
                turned = Rotation.from_rotvec(np.deg2rad(turn) * step).as_matrix() @ rotation
                moved = shift + step * turn / 6
                for one, other in ((turned, shift), (rotation, moved)):
                    trial = truth.scores(transform, one[None], other)[0]
                    if trial > score:
                        rotation, shift, score, is_better = one, other, trial, True
                        break
        if not is_better:
            turn /= 2
    return rotation, shift, float(score)
