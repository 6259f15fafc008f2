"""The contrast transfer function of an electron microscope, with RELION's signs.

With spatial frequency s in 1/A at azimuth a, wavelength l, spherical aberration Cs and the defocus
``d = (dU + dV)/2 + (dU - dV)/2 cos(2 (a - angle))``, positive for underfocus::

    CTF = sin(pi l d s^2 - pi/2 Cs l^3 s^4 + phase + asin(Q)) exp(-B s^2 / 4)

(Rohou and Grigorieff 2015, with the sign by which density is bright.)
"""

import math

import numpy as np

from ooc.core.compiler import lean_kernel, small_kernel

# What a row of "optics" holds: A, A, radians, A^2, kV, mm, share, radians.
OPTICS = (
    "defocus_u", "defocus_v", "angle", "envelope", "voltage", "spherical", "amplitude", "phase",
)  # fmt: skip
DEFOCUS_U, DEFOCUS_V, ANGLE, ENVELOPE, VOLTAGE, SPHERICAL, AMPLITUDE, PHASE = range(len(OPTICS))


@small_kernel
def wavelength(voltage: float) -> float:
    """Return the relativistic wavelength in A of electrons of so many kV.

    Examples
    --------
    >>> round(wavelength(300.0), 5)
    0.01969
    """
    volts = 1000.0 * voltage
    return 12.2642596588 / math.sqrt(volts * (1.0 + 0.978475598e-6 * volts))


@lean_kernel
def constants_of(
    optics: np.ndarray, first: int, unit: float
) -> tuple[float, float, float, float, float, float]:
    """Return what `transfer` needs of one image.

    They are factors of kx^2, ky^2, kx ky and k^4 (k in Fourier pixels), a phase, and the factor of
    k^2 in the envelope.

    Parameters
    ----------
    optics, first
        Flat, and where the image's eight numbers begin.
    unit
        Spatial frequency of one Fourier pixel, 1/(box A).
    """
    length = wavelength(np.float64(optics[first + VOLTAGE]))
    u, v = np.float64(optics[first + DEFOCUS_U]), np.float64(optics[first + DEFOCUS_V])
    twice = 2.0 * np.float64(optics[first + ANGLE])
    mean, half = 0.5 * (u + v), 0.5 * (u - v)
    scale = math.pi * length * unit * unit
    aberration = 1e7 * np.float64(optics[first + SPHERICAL])
    fourth = -0.5 * math.pi * aberration * length**3 * unit**4
    amplitude = math.asin(np.float64(optics[first + AMPLITUDE]))
    return (
        scale * (mean + half * math.cos(twice)), scale * (mean - half * math.cos(twice)),
        scale * 2.0 * half * math.sin(twice), fourth,
        np.float64(optics[first + PHASE]) + amplitude,
        -0.25 * np.float64(optics[first + ENVELOPE]) * unit * unit,
    )  # fmt: skip


@small_kernel
def transfer(
    constants: tuple[float, float, float, float, float, float], kx: float, ky: float
) -> float:
    """Return the transfer function at a Fourier pixel."""
    square = kx * kx + ky * ky
    angle = constants[0] * kx * kx + constants[1] * ky * ky + constants[2] * kx * ky
    angle += constants[3] * square * square + constants[4]
    return math.sin(angle) * math.exp(constants[5] * square)


def transfer_function(
    optics: np.ndarray, kx: np.ndarray, ky: np.ndarray, pixel: float, box: int
) -> np.ndarray:
    """Return the transfer functions of images, (images, *frequencies) float64, by NumPy.

    Parameters
    ----------
    optics
        (images, 8), see `OPTICS`.
    kx, ky
        Fourier pixels, broadcast with each other.
    pixel
        A.
    box
        Pixels along a side.

    Examples
    --------
    >>> at_300_kv = np.array([[15e3, 15e3, 0, 0, 300, 2.7, 0.1, 0]])
    >>> transfer_function(at_300_kv, np.zeros(1), np.zeros(1), 5.0, 64)
    array([[0.1]])
    """
    shape = (-1, *(1,) * np.broadcast(kx, ky).ndim)
    each = {
        name: optics[:, place].astype(np.float64).reshape(shape)
        for place, name in enumerate(OPTICS)
    }
    square = (kx**2 + ky**2) / (box * pixel) ** 2
    azimuth = np.arctan2(ky, kx)
    volts = 1000 * each["voltage"]
    length = 12.2642596588 / np.sqrt(volts * (1 + 0.978475598e-6 * volts))
    u, v = each["defocus_u"], each["defocus_v"]
    defocus = (u + v) / 2 + (u - v) / 2 * np.cos(2 * (azimuth - each["angle"]))
    angle = np.pi * length * defocus * square
    angle = angle - np.pi / 2 * 1e7 * each["spherical"] * length**3 * square**2
    angle = angle + each["phase"] + np.arcsin(each["amplitude"])
    found: np.ndarray = np.sin(angle) * np.exp(-each["envelope"] * square / 4)
    return found
