"""Mirror coordinates: a bijection between the states inside all bounds and a whole vector space.

With slacks s_i of the faces of a condition's flux space, scaled to deviations, the barrier
phi = sum s_i (log s_i - 1) is convex, and its slope grows without bound at every face. Its gradient
eta = -sum log(s_i) a_i therefore takes each inner state to one point of R^D, and back: a network
that is free to answer anything answers with a state inside all bounds. For fluxes that add up to a
constant it is the logarithm of shares, for a single one between two bounds nearly the logit.
Learning in such coordinates is what mirror diffusion does for constrained data (Liu and others
2023); the barrier is the entropy of mirror descent (Beck and Teboulle 2003).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.stats import norm

from ooc.core.compiler import exact_kernel
from pipelines.metabolic_flux.frame import Frame
from pipelines.metabolic_flux.inputs import KNOTS, LEAST_SLACK, REACH

# A bound further away than this many deviations is left out where nearer ones imply it.
FURTHEST = 60.0
_STEPS, _ENOUGH = 60, 1e-18


@dataclass(frozen=True)
class Faces:
    """Faces of each condition's flux space, and the mean and spread of mirror coordinates.

    Slack i of a state is end - slope v_j for the reaction j of the face, in deviations.

    Attributes
    ----------
    reactions
        (C, F) int64; -1 behind the last face of a condition.
    ends, slopes
        (C, F) float64.
    normals
        (C, F, D) float64, a_i: unit vectors of the frame's coordinates.
    shifts
        (C, D) float64, mean of eta.
    factors
        (C, D, D) float64: eta = shift + factor t, t (D,) of mean 0 and covariance 1; 0 where a
        condition lacks a coordinate.
    knots
        (C, D, KNOTS) float64: values of t at normal scores from -REACH to REACH, evenly.
    centre_slacks
        (C, F) float64, slacks of the frame's centres.
    """

    reactions: np.ndarray
    ends: np.ndarray
    slopes: np.ndarray
    normals: np.ndarray
    shifts: np.ndarray
    factors: np.ndarray
    centre_slacks: np.ndarray
    knots: np.ndarray

    def slacks(self, fluxes: np.ndarray, condition: int) -> np.ndarray:
        """Return the slacks (rows, F of the condition) of states (rows, R)."""
        own = self.reactions[condition] >= 0
        chosen = fluxes[:, self.reactions[condition][own]]
        found: np.ndarray = self.ends[condition][own] - self.slopes[condition][own] * chosen
        return found

    def mirrored(self, fluxes: np.ndarray, condition: int) -> np.ndarray:
        """Return eta of states (rows, R), (rows, D) float64."""
        logs = np.log(np.maximum(self.slacks(fluxes, condition), LEAST_SLACK))
        found: np.ndarray = -logs @ self.normals[condition][: logs.shape[1]]
        return found

    def coordinates(self, outputs: np.ndarray, condition: int, is_used: np.ndarray) -> np.ndarray:
        """Return y of the frame, (rows, D), for normal scores of mirror coordinates (rows, D).

        For each row the convex function phi(y) - eta y is made least by Newton's method.
        """
        own = self.reactions[condition] >= 0
        normals = np.ascontiguousarray(self.normals[condition][own][:, is_used])
        # Slacks at y = 0, the centre of the frame.
        ends = self.centre_slacks[condition][own]
        standard = np.column_stack(
            [
                unscored(own, column)
                for own, column in zip(self.knots[condition], outputs.T, strict=True)
            ]
        )
        eta = self.shifts[condition] + standard @ self.factors[condition].T
        found = np.zeros(eta.shape)
        found[:, is_used] = _least(normals, ends, np.ascontiguousarray(eta[:, is_used]))
        return found


def faces_of(frame: Frame, samples: list[np.ndarray]) -> Faces:
    """Find the faces of each condition, and how mirror coordinates of samples lie.

    Bounds that coincide, as those of reactions in a chain do, are one face.

    Parameters
    ----------
    samples
        Of each condition (rows, R) float64 states.
    """
    found = [_faces(frame, number) for number in range(frame.conditions)]
    most, dimensions = max(len(each[0]) for each in found), frame.dimensions
    shape = frame.conditions, most
    reactions = np.full(shape, -1, np.int64)
    ends, slopes, centre = (np.zeros(shape) for _ in range(3))
    normals = np.zeros((*shape, dimensions))
    for number, (places, end, slope, normal) in enumerate(found):
        count = len(places)
        reactions[number, :count], ends[number, :count] = places, end
        slopes[number, :count], normals[number, :count] = slope, normal
        centre[number, :count] = end - slope * frame.centres[number][places]
    shifts = np.zeros((frame.conditions, dimensions))
    factors = np.zeros((frame.conditions, dimensions, dimensions))
    grid = np.linspace(-REACH, REACH, KNOTS)
    knots = np.tile(grid, (frame.conditions, dimensions, 1))
    plain = Faces(reactions, ends, slopes, normals, shifts, factors, centre, knots)
    for number, states in enumerate(samples):
        eta, used = plain.mirrored(states, number), frame.is_used[number]
        shifts[number, used] = eta[:, used].mean(axis=0)
        spread = np.linalg.cholesky(np.atleast_2d(np.cov(eta[:, used].T)))
        factors[number][np.ix_(used, used)] = spread
        standard = np.linalg.solve(spread, (eta - shifts[number])[:, used].T)
        knots[number, used] = np.quantile(standard, norm.cdf(grid), axis=1).T
    return plain


def unscored(knots: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the values whose normal scores these are: the inverse of `inputs.score`."""
    step = 2 * REACH / (KNOTS - 1)
    places = (scores.astype(np.float64) + REACH) / step
    low = np.clip(np.floor(places), 0, KNOTS - 2).astype(np.int64)
    found: np.ndarray = knots[low] + (places - low) * (knots[low + 1] - knots[low])
    return found


def _faces(frame: Frame, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return reactions, ends, slopes and unit normals of a condition's faces."""
    moving = np.flatnonzero(frame.is_moving[number])
    basis = frame.bases[number][:, moving].T
    lengths = np.linalg.norm(basis, axis=1)
    normals = np.concatenate([basis, -basis]) / np.tile(lengths, 2)[:, None]
    signs = np.repeat([1.0, -1.0], len(moving))
    places, scaled = np.tile(moving, 2), signs / np.tile(lengths, 2)
    bounds = np.where(signs > 0, frame.upper[number][places], frame.lower[number][places])
    ends = bounds * scaled
    slack = ends - scaled * frame.centres[number][places]
    near = _needed(frame, number, places, signs, slack)
    rounded = np.round(np.column_stack([normals, slack])[near], 5) + 0.0
    kept = near[np.sort(np.unique(rounded, axis=0, return_index=True)[1])]
    return places[kept], ends[kept], scaled[kept], normals[kept]


def _needed(
    frame: Frame, number: int, places: np.ndarray, signs: np.ndarray, slack: np.ndarray
) -> np.ndarray:
    """Return which bounds are near, or are not implied by those that are: places among them."""
    is_near = slack < FURTHEST
    basis, centre = frame.bases[number][frame.is_used[number]], frame.centres[number]
    rows = basis[:, places].T * signs[:, None]
    bounds = np.where(signs > 0, frame.upper[number][places], frame.lower[number][places]) * signs
    rest = bounds - centre[places] * signs
    for place in np.flatnonzero(~is_near):
        found = linprog(
            -rows[place], A_ub=rows[is_near], b_ub=rest[is_near], bounds=(None, None),
            method="highs",
        )  # fmt: skip
        if found.x is None or -found.fun > rest[place]:
            is_near[place] = True
    return np.flatnonzero(is_near)


@exact_kernel
def _least(normals: np.ndarray, ends: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Return y (rows, D) where the gradient of the barrier is eta; slacks at 0 are `ends`, (F,)."""
    rows, dimensions = eta.shape
    faces = len(ends)
    found = np.zeros((rows, dimensions))
    slope, hessian = np.empty(dimensions), np.empty((dimensions, dimensions))
    slacks, trial, change = np.empty(faces), np.empty(faces), np.empty(faces)
    for r in range(rows):
        y = found[r]
        slacks[:] = ends
        for _ in range(_STEPS):
            for k in range(dimensions):
                slope[k] = -eta[r, k]
                for m in range(k + 1):
                    hessian[k, m] = 0.0
            for i in range(faces):
                log, weight = np.log(slacks[i]), 1.0 / slacks[i]
                for k in range(dimensions):
                    slope[k] -= log * normals[i, k]
                    scaled = weight * normals[i, k]
                    for m in range(k + 1):
                        hessian[k, m] += scaled * normals[i, m]
            step = -_solve(hessian, slope)
            decrement = -np.dot(slope, step)
            # A hair from a corner slacks differ beyond float64: the last iterate is inside.
            if not np.isfinite(decrement):
                break
            longest = 1.0
            for i in range(faces):
                moved = 0.0
                for k in range(dimensions):
                    moved -= normals[i, k] * step[k]
                change[i] = moved
                if moved < 0:
                    longest = min(longest, -0.95 * slacks[i] / moved)
            # Backtracking (Boyd and Vandenberghe 2004, section 9.2).
            size = longest
            for _ in range(40):
                gain = 0.0
                for i in range(faces):
                    trial[i] = slacks[i] + size * change[i]
                    gain += trial[i] * (np.log(trial[i]) - 1) - slacks[i] * (np.log(slacks[i]) - 1)
                gain -= size * np.dot(eta[r], step)
                if gain <= -1e-4 * size * decrement + 1e-12:
                    break
                size *= 0.5
            for k in range(dimensions):
                y[k] += size * step[k]
            for i in range(faces):
                slacks[i] = trial[i]
            if decrement < _ENOUGH:
                break
    return found


@exact_kernel
def _solve(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve H x = right, H given by its lower half, which becomes its Cholesky factor."""
    count = len(right)
    for k in range(count):
        for m in range(k + 1):
            total = lower[k, m]
            for n in range(m):
                total -= lower[k, n] * lower[m, n]
            lower[k, m] = np.sqrt(max(total, 1e-300)) if k == m else total / lower[m, m]
    found = right.copy()
    for k in range(count):
        for m in range(k):
            found[k] -= lower[k, m] * found[m]
        found[k] /= lower[k, k]
    for k in range(count - 1, -1, -1):
        for m in range(k + 1, count):
            found[k] -= lower[m, k] * found[m]
        found[k] /= lower[k, k]
    return found
