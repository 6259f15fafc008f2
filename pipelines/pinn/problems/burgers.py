"""Burgers' equation with viscosity 0.01/pi: a sine that steepens to a shock (Raissi et al. 2019).

The reference is a Fourier spectral solver with an integrating factor and Runge-Kutta of fourth
order: the wave is periodic, as -sin(pi x) is.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np

from pipelines.pinn.case import Case, judge_outputs
from pipelines.pinn.geometry import box
from pipelines.pinn.problem import FREE, Problem

BOUND = 5e-4
VISCOSITY = 0.01 / np.pi
MODES, STEPS, SHOWN = 2048, 4000, 101  # of space, of time, and times that are kept


def burgers(u: float, u_t: float, u_x: float, u_xx: float) -> float:
    """Carry itself along, and diffuse."""
    return u_t + u * u_x - VISCOSITY * u_xx


def begin(u: float, x: float) -> float:
    """Begin as a sine."""
    return u + np.sin(np.pi * x)


def fixed(u: float) -> float:
    """Stay at zero."""
    return u


@cache
def spectral(modes: int = MODES, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places (modes,), times (SHOWN,) and u (SHOWN, modes)."""
    x = -1 + 2 * np.arange(modes) / modes
    k = np.pi * np.arange(modes // 2 + 1)
    dt, kept = 1.0 / steps, 1.0 * (k < 2 / 3 * k[-1])  # what would alias is left out
    half = np.exp(-VISCOSITY * k**2 * dt / 2)
    whole, slope = half**2, -0.5j * k * kept

    def change(hat: np.ndarray) -> np.ndarray:
        found: np.ndarray = slope * np.fft.rfft(np.fft.irfft(hat, modes) ** 2)
        return found

    hat = np.fft.rfft(-np.sin(np.pi * x))
    found = [np.fft.irfft(hat, modes)]
    for step in range(1, steps + 1):
        a = change(hat)
        b = change(half * (hat + dt / 2 * a))
        c = change(half * hat + dt / 2 * b)
        d = change(whole * hat + dt * half * c)
        hat = whole * hat + dt / 6 * (whole * a + 2 * half * (b + c) + d)
        if step % (steps // (SHOWN - 1)) == 0:
            found.append(np.fft.irfft(hat, modes))
    return x, np.linspace(0, 1, SHOWN), np.array(found)


def reference(points: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return u at points (x, t), (rows, 2), between places and times by cubics."""
    from scipy.interpolate import RectBivariateSpline

    x, times, values = spectral()
    closed = np.concatenate([values, values[:, :1]], axis=1)
    spline = RectBivariateSpline(times, np.append(x, 1.0), closed)
    return {"u": spline(points[:, 1], points[:, 0], grid=False)}


def judged() -> np.ndarray:
    """Return the solver's own places and times, every eighth and every fifth: (rows, 2)."""
    x = -1 + 2 * np.arange(0, MODES, 8) / MODES
    return np.stack(np.meshgrid(x, np.linspace(0, 1, 21), indexing="ij"), axis=-1).reshape(-1, 2)


PROBLEM = Problem(
    "burgers", box(x=(-1.0, 1.0), t=(0.0, 1.0)), ("u",), (burgers,),
    {"x=-1": (fixed,), "x=1": (fixed,), "t=0": (begin,), "t=1": FREE},
    reference, hidden=(20, 20, 20), points=5000, edge_points=200,
)  # fmt: skip
CASES = (Case(PROBLEM, judge_outputs(judged(), {"u": BOUND}), 4, 1200, ("u",)),)
