"""A density that is learned from its projections, trained as any compiled model of ooc."""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy import fft

from ooc.core.errors import DataError, DivergedError, InputError
from ooc.metrics.measured import Measured
from ooc.models.compiled import CompiledModel
from ooc.models.contract import BatchLike, Layout
from ooc.models.declarations import Kernel, Needs
from pipelines.cryo_em import kernel as kernels
from pipelines.cryo_em.optics import OPTICS
from pipelines.cryo_em.poses import TOLERANCE, first_bad_rotation

ROTATION, SHIFT, OPTIC = "rotation", "shift", "optics"
FURTHER = (ROTATION, SHIFT, OPTIC)


@dataclass(frozen=True)
class Density(CompiledModel):
    """Voxels of a padded box, by their Hartley transform, that explain images (box, box).

    The transform is orthogonal: descent on it is descent on the voxels. Rows are images with
    "rotation" (3, 3), "shift" (2,) in pixels, x first, and "optics", see
    `pipelines.cryo_em.optics`.

    Attributes
    ----------
    box
        Pixels along an image's side.
    pixel
        A.
    padding
        The density's side as a multiple of the image's: slices are interpolated between
        frequencies that lie so much closer.
    noise
        Variances of the noise of an orthonormal Fourier coefficient, one for each ring |k| from 0
        to box // 2; None: 1.
    scales
        (M, M, M) float32, what parameters are multiplied with to be the transform: one over the
        roots of the curvature precondition descent. None: 1.
    dtype
        Of the parameters: "float32", or "float64".

    Raises
    ------
    InputError
        If a size, the noise or the scales cannot be used.
    """

    box: int
    pixel: float
    padding: float = 2.0
    noise: tuple[float, ...] | None = None
    scales: np.ndarray | None = field(default=None, repr=False, compare=False)
    dtype: str = "float32"
    name: ClassVar[str] = "density"
    needs_target = False

    def __post_init__(self) -> None:
        if self.box < 8 or not self.pixel > 0 or not 1 <= self.padding <= 4:
            raise InputError(
                f"a box of {self.box} pixels of {self.pixel} A, padded {self.padding} times, "
                "cannot be: take at least 8 pixels, of a positive size, and a padding from 1 to 4"
            )
        rings = self.box // 2 + 1
        noise = self.noise
        if noise is not None and (
            len(noise) != rings or not all(0 < each < math.inf for each in noise)
        ):
            raise InputError(f"noise has {rings} positive variances, one a ring, not {noise}")
        if self.scales is not None and self.scales.shape != (self.size,) * 3:
            raise InputError(
                f"scales have the density's shape {(self.size,) * 3}, not {self.scales.shape}"
            )
        self.reals  # noqa: B018  as large as the density: held before a run counts what is held

    @property
    def size(self) -> int:
        """M, voxels along a side of the padded box, even."""
        return 2 * round(self.box * self.padding / 2)

    @property
    def last_ring(self) -> int:
        """The largest |k| of which all is used."""
        return (self.box - 1) // 2

    @property
    def needs(self) -> Needs:
        """Poses and optics, beside images."""
        shapes = {ROTATION: (3, 3), SHIFT: (2,), OPTIC: (len(OPTICS),)}
        return Needs(further=FURTHER, shapes=shapes)

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return the one part, (M, M, M).

        Raises
        ------
        InputError
            If images have another size.
        """
        if math.prod(row_shape) != self.box**2:
            raise InputError(
                f"rows have shape {row_shape}, but the density was made for images of "
                f"{self.box} x {self.box} pixels"
            )
        return Layout({"density": (self.size,) * 3})

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return an empty box."""
        return np.zeros(layout.size, self.dtype)

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Take any targets: they are not used."""

    @cached_property
    def samples(self) -> np.ndarray:
        """(samples, 3) int64: kx, ky and ring |k| of half of the plane, below Nyquist."""
        reach = np.arange(-self.last_ring, self.last_ring + 1)
        ky, kx = np.meshgrid(reach, reach, indexing="ij")
        radius = np.hypot(kx, ky)
        # Poses are rotations up to a tolerance.
        most = (1 - 2 * TOLERANCE) * (self.size / 2 - 1) * self.box / self.size
        below = radius < min(self.last_ring + 0.5, most)
        chosen = below & ((kx > 0) | ((kx == 0) & (ky >= 0)))
        rings = np.rint(radius).astype(np.int64)
        return np.stack([kx[chosen], ky[chosen], rings[chosen]], axis=1)

    @cached_property
    def reals(self) -> np.ndarray:
        """The kernel's numbers, kept once: they are as large as the density."""
        place = np.arange(self.box) - self.box // 2
        angle = 2 * np.pi * np.outer(place, place) / self.box
        cas = (np.cos(angle) + np.sin(angle)) / math.sqrt(self.box)
        noise = np.ones(self.box // 2 + 1) if self.noise is None else np.array(self.noise)
        head = np.concatenate([[1 / (self.box * self.pixel)], 1 / noise, cas.reshape(-1)])
        voxels = self.size**3
        found = np.empty(len(head) + voxels // 2)  # M is even
        found[: len(head)] = head
        scales = found[len(head) :].view(np.float32)
        scales[:] = 1 if self.scales is None else self.scales.reshape(-1)
        return found

    @cached_property
    def integers(self) -> np.ndarray:
        """The kernel's integers."""
        sizes = np.array([self.box, self.size, len(self.samples)])
        return np.concatenate([sizes, self.samples.reshape(-1)])

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return the density's part of the window loop."""
        return Kernel(
            kernels.accumulate, self.reals, self.integers, shares=2, least_rows=4,
            most_rows=256, own_values=self.box**2, eager=True,
        )  # fmt: skip

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the sum of losses over a batch."""
        rows = len(batch.rows)
        loss = self.loss_and_grad(parameters, batch, np.empty(parameters.size))
        return Measured(rows * loss, rows, np.nan, rows)

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Refuse: an image is of a pose.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError("a density is read with Density.volume(parameters); it predicts no rows")

    def with_noise(self, noise: np.ndarray) -> "Density":
        """Return the same for noise of other variances."""
        return replace(self, noise=tuple(map(float, noise)))

    def preconditioned(self, curvature: np.ndarray, floor: float = 0.5) -> "Density":
        """Return the same with scales that are one over the roots of a curvature.

        Parameters
        ----------
        curvature
            (M, M, M) float64, of a row, see `kernel.add_curvature`.
        floor
            What a voxel has at least of its shell's mean: steps do not make up for views that are
            rare, whose noise they would make as strong as the signal of the others.
        """
        steps = np.square(np.arange(self.size) - self.size // 2, dtype=np.float32)
        scales = np.empty(curvature.shape, np.float32)
        last = self.size // 2
        sums, counts = np.zeros((2, last + 1))
        for square, plane in zip(steps, curvature, strict=True):
            shells = np.rint(np.sqrt(square + steps[:, None] + steps)).astype(np.int64)
            shells = np.minimum(shells, last).reshape(-1)
            sums += np.bincount(shells, plane.reshape(-1), last + 1)
            counts += np.bincount(shells, minlength=last + 1)
        means = sums / counts
        # Beyond what images tell lie voxels of which they tell a little: those take small steps.
        edge = min(int(self.last_ring * self.size / self.box), last)
        means[edge:] = means[edge]
        least = floor * means
        for square, plane, out in zip(steps, curvature, scales, strict=True):
            shells = np.rint(np.sqrt(square + steps[:, None] + steps)).astype(np.int64)
            out[:] = 1 / np.sqrt(np.maximum(plane, least[np.minimum(shells, last)]))
        return replace(self, scales=scales)

    def evenly_scaled(self, curvature: np.ndarray) -> "Density":
        """Return the same with one scale for all voxels, that of the largest curvature."""
        scale = 1 / math.sqrt(curvature.max())
        return replace(self, scales=np.full(curvature.shape, scale, np.float32))

    def volume(self, parameters: np.ndarray) -> np.ndarray:
        """Return the density (box, box, box) float32, z first, its origin at ``box // 2``."""
        hartley = parameters.reshape((self.size,) * 3)
        return from_hartley(hartley if self.scales is None else hartley * self.scales, self.box)

    def parameters_of(self, volume: np.ndarray) -> np.ndarray:
        """Return the parameters whose density is a volume (box, box, box)."""
        hartley = to_hartley(volume, self.size)
        if self.scales is not None:
            hartley /= self.scales
        return hartley.reshape(-1).astype(self.dtype)

    def explain(self, status: int, row: int, batch: BatchLike) -> DataError | DivergedError:
        """Say why a row of a batch cannot be used."""
        place = int(np.argmax(batch.rows == row))
        rotation = np.asarray(batch.arrays[ROTATION][place], np.float64)
        if first_bad_rotation(rotation[None]) >= 0:
            return DataError(
                f"row {row} is in a pose that is no rotation: {rotation.tolist()}; mend it"
            )
        for name in FURTHER[1:]:
            values = np.asarray(batch.arrays[name][place])
            if not np.isfinite(values).all():
                return DataError(f"row {row} of {name} is not finite: {values.tolist()}; mend it")
        return super().explain(status, row, batch)

    def to_config(self) -> dict[str, Any]:
        """Return name and settings; scales are made again from poses and optics."""
        return {
            "name": self.name, "box": self.box, "pixel": self.pixel, "padding": self.padding,
            "noise": None if self.noise is None else list(self.noise), "dtype": self.dtype,
        }  # fmt: skip


def to_hartley(volume: np.ndarray, size: int) -> np.ndarray:
    """Return the transform (size,)*3 float64 whose interpolated slices are those of a volume.

    Slices are divided by the box, as orthonormal transforms of images are. Trilinear interpolation
    multiplies a density by sinc^2 along each axis, which is taken back here.
    """
    box = len(volume)
    padded = np.zeros((size,) * 3)
    inner = slice(size // 2 - box // 2, size // 2 - box // 2 + box)
    padded[inner, inner, inner] = volume / _blur(box, size)
    found = fft.fftshift(fft.fftn(fft.ifftshift(padded), workers=2))
    hartley: np.ndarray = (found.real - found.imag) / box
    return hartley


def from_hartley(hartley: np.ndarray, box: int) -> np.ndarray:
    """Return the volume (box,)*3 float32 of a transform: the inverse of `to_hartley`."""
    size = len(hartley)
    found = fft.fftn(fft.ifftshift(hartley), workers=2)
    # What is shifted is no more than what is kept.
    kept = np.arange(box) - box // 2
    density = found[np.ix_(kept, kept, kept)]
    volume: np.ndarray = (density.real - density.imag) * (_blur(box, size) * (box / size**3))
    return volume.astype(np.float32)


def _blur(box: int, size: int) -> np.ndarray:
    """Return by what trilinear interpolation multiplies a density, (box,)*3."""
    along = np.sinc((np.arange(box) - box // 2) / size) ** 2
    blur: np.ndarray = along[:, None, None] * along[:, None] * along
    return blur
