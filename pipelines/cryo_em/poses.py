"""Poses: rotations from the density's frame to the image's, whose projection is along z.

A rotation R takes a point (x, y, z) of the density to R (x, y, z), and the image at (x, y) is the
integral over z. Its first two rows are the axes of the image's Fourier slice.
"""

import numpy as np

from ooc.core.errors import InputError

TOLERANCE = 1e-4


def random_rotations(
    generator: np.random.Generator, count: int, preferred: float = 0.0
) -> np.ndarray:
    """Draw rotations, (count, 3, 3) float32.

    Parameters
    ----------
    preferred
        Share of rows that are viewed from one of three directions, each within about 15 degrees;
        all others are uniform on the group of rotations.

    Raises
    ------
    InputError
        If it is no share.

    Examples
    --------
    >>> each = random_rotations(np.random.default_rng(0), 2)
    >>> np.allclose(each @ each.transpose(0, 2, 1), np.eye(3), atol=1e-6)
    True
    """
    if not 0 <= preferred <= 1:
        raise InputError(f"the share of preferred views is from 0 to 1, not {preferred}")
    quaternions = generator.standard_normal((count, 4))
    found = from_quaternions(quaternions)
    chosen = generator.random(count) < preferred
    axes = np.array([[0.0, 0.0, 1.0], [0.8, 0.0, 0.6], [0.0, 0.96, 0.28]])
    views = axes[generator.integers(0, len(axes), count)]
    views = views + 0.15 * generator.standard_normal((count, 3))
    turns = generator.uniform(0, 2 * np.pi, count)
    found[chosen] = from_views(views, turns)[chosen]
    return found.astype(np.float32)


def from_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """Return the rotations of quaternions (rows, 4), w first, of any length: (rows, 3, 3)."""
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.ascontiguousarray(np.array(rows).transpose(2, 0, 1))


def to_quaternions(rotations: np.ndarray) -> np.ndarray:
    """Return unit quaternions (rows, 4), w first and not negative, of rotations (rows, 3, 3).

    Examples
    --------
    >>> to_quaternions(np.diag([1.0, -1.0, -1.0])[None]).tolist()
    [[0.0, 1.0, 0.0, 0.0]]
    """
    r = np.asarray(rotations, np.float64)
    xx, yy, zz = r[:, 0, 0], r[:, 1, 1], r[:, 2, 2]
    # Four times each product of two parts; the row of the largest square is the most exact.
    wx, wy, wz = r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]
    xy, xz, yz = r[:, 0, 1] + r[:, 1, 0], r[:, 0, 2] + r[:, 2, 0], r[:, 1, 2] + r[:, 2, 1]
    table = np.array(
        [
            [1 + xx + yy + zz, wx, wy, wz],
            [wx, 1 + xx - yy - zz, xy, xz],
            [wy, xy, 1 - xx + yy - zz, yz],
            [wz, xz, yz, 1 - xx - yy + zz],
        ]
    ).transpose(2, 0, 1)
    largest = np.argmax(np.diagonal(table, axis1=1, axis2=2), axis=1)
    found = table[np.arange(len(r)), largest]
    found *= np.where(found[:, :1] < 0, -1.0, 1.0) / np.linalg.norm(found, axis=1, keepdims=True)
    return found


def from_views(views: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Return rotations, (rows, 3, 3), that look along views (rows, 3), turned in their plane."""
    z = views / np.linalg.norm(views, axis=1, keepdims=True)
    away = np.eye(3)[np.argmin(np.abs(z), axis=1)]
    x = np.cross(away, z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.cross(z, x)
    cosine, sine = np.cos(turns)[:, None], np.sin(turns)[:, None]
    return np.stack([cosine * x + sine * y, cosine * y - sine * x, z], axis=1)


def from_euler(rot: np.ndarray, tilt: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Return the rotations of RELION's angles in degrees, (rows, 3, 3).

    They turn about z by `rot`, about the new y by `tilt`, about the new z by `psi`: the matrix of
    its ``Euler_angles2matrix``.
    """

    def about(axis: int, degrees: np.ndarray) -> np.ndarray:
        angle = np.deg2rad(np.asarray(degrees, np.float64))
        found = np.zeros((len(angle), 3, 3))
        i, j = ((1, 2), (2, 0), (0, 1))[axis]
        found[:, axis, axis] = 1
        found[:, i, i] = found[:, j, j] = np.cos(angle)
        found[:, i, j], found[:, j, i] = np.sin(angle), -np.sin(angle)
        return found

    return about(2, psi) @ about(1, tilt) @ about(2, rot)


def to_euler(rotations: np.ndarray) -> np.ndarray:
    """Return RELION's angles rot, tilt and psi of rotations in degrees, (rows, 3).

    Examples
    --------
    >>> to_euler(from_euler([10.0], [20.0], [30.0])).round(6).tolist()
    [[10.0, 20.0, 30.0]]
    """
    r = np.asarray(rotations, np.float64)
    tilt = np.arctan2(np.hypot(r[:, 2, 0], r[:, 2, 1]), r[:, 2, 2])
    is_upright = np.sin(tilt) < 1e-6
    rot = np.where(is_upright, 0.0, np.arctan2(r[:, 2, 1], r[:, 2, 0]))
    psi = np.where(
        is_upright, np.arctan2(r[:, 0, 1], r[:, 1, 1]), np.arctan2(r[:, 1, 2], -r[:, 0, 2])
    )
    return np.rad2deg(np.stack([rot, tilt, psi], axis=1))


def first_bad_rotation(rotations: np.ndarray) -> int:
    """Return the first of (rows, 3, 3) that is no rotation, or -1."""
    r = np.asarray(rotations, np.float64)
    inside = (np.abs(r) < 2).all(axis=(1, 2), keepdims=True)  # false of NaN
    r = np.where(inside, r, 0.0)
    away = np.abs(r @ r.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    bad = ~((away < TOLERANCE) & (np.linalg.det(r) > 0))
    return int(np.argmax(bad)) if bad.any() else -1
