"""Poses made better image by image: damped Gauss-Newton steps on rotation and shift, compiled.

The loss of an image is that of `pipelines.cryo_em.kernel`. A step has five numbers: a turn about
the axes x, y and z of the density's frame, and a shift along the image's x and y.
"""

import math

import numpy as np

from ooc.core.compiler import kernel, lean_kernel
from pipelines.cryo_em.cuts import gather_slopes

UNKNOWNS, POSE, WORK = 5, 11, 16
FIRST_DAMPING, REPEATED_DAMPING = 0.01, 0.1
MOST_TURN = 0.3  # radians in a step
ENOUGH = 0.01  # of the log-likelihood: who gains less is there


@lean_kernel
def normal_equations(
    transform: np.ndarray, ratio: float, samples: np.ndarray, values: np.ndarray,
    contrast: np.ndarray, weights: np.ndarray, pose: np.ndarray, box: int, normal: np.ndarray,
    slope: np.ndarray, work: np.ndarray,
) -> float:  # fmt: skip
    """Fill the normal equations of an image in a pose, and return its loss.

    Parameters
    ----------
    transform, ratio, samples
        See `pipelines.cryo_em.cuts.cut`.
    values, contrast, weights
        (samples,) of the image, and of the loss.
    pose
        (11,) float64: the rotation row by row, and the shift in pixels.
    normal, slope, work
        (5, 5), (5,) and (16,) float64.
    """
    unit, total = 2.0 * math.pi / box, 0.0
    for n in range(UNKNOWNS):
        slope[n] = 0.0
        for m in range(UNKNOWNS):
            normal[n, m] = 0.0
    for s in range(samples.shape[0]):
        kx, ky, weight = float(samples[s, 0]), float(samples[s, 1]), np.float64(weights[s])
        x = ratio * (kx * pose[0] + ky * pose[3])
        y = ratio * (kx * pose[1] + ky * pose[4])
        z = ratio * (kx * pose[2] + ky * pose[5])
        gather_slopes(transform, z, y, x, work)
        angle = unit * (kx * pose[9] + ky * pose[10])
        cosine, sine = math.cos(angle), math.sin(angle)
        real, imaginary = np.float64(values[s].real), np.float64(values[s].imag)
        c = np.float64(contrast[s])
        away_real = real * cosine - imaginary * sine - c * work[0]
        away_imaginary = real * sine + imaginary * cosine - c * work[1]
        total += weight * (away_real * away_real + away_imaginary * away_imaginary)
        # Where the model moves: turned by w, the frequency p moves by w x p.
        for part in range(2):
            gx, gy, gz = c * work[2 + part], c * work[4 + part], c * work[6 + part]
            work[8 + part] = y * gz - z * gy
            work[10 + part] = z * gx - x * gz
            work[12 + part] = x * gy - y * gx
        turned_real, turned_imaginary = unit * c * work[1], -unit * c * work[0]
        for n in range(UNKNOWNS):
            k = kx if n == 3 else ky
            a = work[8 + 2 * n] if n < 3 else k * turned_real
            b = work[9 + 2 * n] if n < 3 else k * turned_imaginary
            slope[n] += weight * (a * away_real + b * away_imaginary)
            for m in range(n + 1):
                k = kx if m == 3 else ky
                one = work[8 + 2 * m] if m < 3 else k * turned_real
                other = work[9 + 2 * m] if m < 3 else k * turned_imaginary
                normal[n, m] += weight * (a * one + b * other)
    return total


@lean_kernel
def solve(normal: np.ndarray, slope: np.ndarray, damping: float, step: np.ndarray) -> bool:
    """Solve damped normal equations, of which the lower half is given, by Cholesky, in place.

    Returns
    -------
    bool
        Whether they have a solution.
    """
    for n in range(UNKNOWNS):
        diagonal = normal[n, n] * (1.0 + damping)
        for m in range(n):
            diagonal -= normal[n, m] * normal[n, m]
        if not diagonal > 0.0:
            return False
        normal[n, n] = math.sqrt(diagonal)
        for r in range(n + 1, UNKNOWNS):
            left = normal[r, n]
            for m in range(n):
                left -= normal[r, m] * normal[n, m]
            normal[r, n] = left / normal[n, n]
    for n in range(UNKNOWNS):
        left = slope[n]
        for m in range(n):
            left -= normal[n, m] * step[m]
        step[n] = left / normal[n, n]
    for back in range(UNKNOWNS):
        n = UNKNOWNS - 1 - back
        left = step[n]
        for m in range(n + 1, UNKNOWNS):
            left -= normal[m, n] * step[m]
        step[n] = left / normal[n, n]
    return True


@lean_kernel
def move(pose: np.ndarray, step: np.ndarray, most_shift: float, out: np.ndarray) -> None:
    """Fill the pose after a step; no shift is above the largest."""
    x, y, z = step[0], step[1], step[2]
    angle = math.sqrt(x * x + y * y + z * z)
    if angle > MOST_TURN:
        shrink = MOST_TURN / angle
        x, y, z, angle = x * shrink, y * shrink, z * shrink, MOST_TURN
    one = math.sin(angle) / angle if angle > 1e-12 else 1.0
    two = (1.0 - math.cos(angle)) / (angle * angle) if angle > 1e-12 else 0.5
    for row in range(3):
        a, b, c = pose[3 * row], pose[3 * row + 1], pose[3 * row + 2]
        # Rodrigues: p + one w x p + two w x (w x p).
        u, v, w = y * c - z * b, z * a - x * c, x * b - y * a
        out[3 * row] = a + one * u + two * (y * w - z * v)
        out[3 * row + 1] = b + one * v + two * (z * u - x * w)
        out[3 * row + 2] = c + one * w + two * (x * v - y * u)
    for n in range(2):
        out[9 + n] = min(max(pose[9 + n] + step[3 + n], -most_shift), most_shift)


@kernel
def refine(
    transform: np.ndarray, ratio: float, samples: np.ndarray, values: np.ndarray,
    contrast: np.ndarray, weights: np.ndarray, box: int, most_shift: float, steps: int,
    poses: np.ndarray, losses: np.ndarray,
) -> None:  # fmt: skip
    """Make poses (rows, 11) float64 better, and fill their losses (rows,) float64.

    A step that does not lower the loss is taken back and tried again, shorter.

    Parameters
    ----------
    transform, ratio, samples
        See `pipelines.cryo_em.cuts.cut`.
    values, contrast, weights
        (rows, samples) of images, and (samples,) of the loss.
    box, most_shift
        Pixels of an image's side, and of the largest shift.
    steps
        At most.
    """
    normal, slope, step = np.empty((UNKNOWNS, UNKNOWNS)), np.empty(UNKNOWNS), np.empty(UNKNOWNS)
    work, trial = np.empty(WORK), np.empty(POSE)
    for r in range(poses.shape[0]):
        pose, damping = poses[r], FIRST_DAMPING
        loss = normal_equations(transform, ratio, samples, values[r], contrast[r], weights, pose,
                                box, normal, slope, work)  # fmt: skip
        for _ in range(steps):
            if not solve(normal, slope, damping, step):
                break
            move(pose, step, most_shift, trial)
            found = normal_equations(transform, ratio, samples, values[r], contrast[r], weights,
                                     trial, box, normal, slope, work)  # fmt: skip
            if found < loss:
                gained, loss = loss - found, found
                pose[:] = trial
                damping *= 0.3
                if gained < ENOUGH:
                    break
            else:
                damping = max(10.0 * damping, REPEATED_DAMPING)
                normal_equations(transform, ratio, samples, values[r], contrast[r], weights, pose,
                                 box, normal, slope, work)  # fmt: skip
        losses[r] = loss
