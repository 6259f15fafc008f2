"""Orientations: a nearly uniform grid of rotations, and how far rotations are from each other."""

import math

import numpy as np

from pipelines.cryo_em.poses import from_quaternions

# Of the spirals: with the square root of 2 they fill the sphere of quaternions evenly.
_PSI = 1.533751168755204288118041


def orientation_count(spacing: float) -> int:
    """Return how many cells of so many degrees a side fill the group, whose volume is 8 pi^2.

    Examples
    --------
    >>> orientation_count(15.0)
    4401
    """
    return math.ceil(8 * math.pi**2 / math.radians(spacing) ** 3)


def orientation_grid(count: int) -> np.ndarray:
    """Return quaternions, (count, 4) float64, w first, that cover all rotations evenly.

    They are super-Fibonacci spirals (Alexa 2022, equation 10): of low discrepancy for any count.
    """
    place = np.arange(count) + 0.5
    share, turn = place / count, 2 * math.pi * place
    inner, outer = np.sqrt(share), np.sqrt(1 - share)
    alpha, beta = turn / math.sqrt(2), turn / _PSI
    parts = (inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta),
             outer * np.cos(beta))  # fmt: skip
    return np.stack(parts, axis=1)


def rotation_grid(spacing: float) -> np.ndarray:
    """Return rotations about so many degrees apart, (rotations, 3, 3) float64."""
    return from_quaternions(orientation_grid(orientation_count(spacing)))


def angles_between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return geodesic distances of rotations (rows, 3, 3) in degrees, (rows,).

    Examples
    --------
    >>> quarter = np.array([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    >>> angles_between(np.eye(3)[None], quarter).tolist()
    [90.0]
    """
    away = np.linalg.norm(np.asarray(one, np.float64) - other, axis=(1, 2))
    # |A - B|^2 = 4 (1 - cos) = 8 sin^2(half the angle): exact also near 0.
    angles: np.ndarray = np.rad2deg(2 * np.arcsin(np.clip(away / math.sqrt(8), 0, 1)))
    return angles
