"""What one step tells of the gradient's signal and noise, added to a descent's totals."""

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.kernels.counters import (
    HALVED,
    NOISE,
    NOISE_SQUARES,
    SIGNAL,
    SIGNAL_NOISE,
    SIGNAL_SQUARES,
)


@exact_kernel
def add_noise(totals: np.ndarray, signal: float, noise: float) -> None:
    """Add a batch's G1 G2 and |G1 - G2|^2 / (1/n1 + 1/n2), see `ooc.kernels.counters`."""
    totals[HALVED] += 1.0
    totals[SIGNAL] += signal
    totals[SIGNAL_SQUARES] += signal * signal
    totals[NOISE] += noise
    totals[NOISE_SQUARES] += noise * noise
    totals[SIGNAL_NOISE] += signal * noise
