"""The compiled density: slices and their adjoint, a twin in NumPy, finite differences, sizes."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft

from ooc.core.errors import DataError, InputError
from pipelines.cryo_em.model import Density, from_hartley, to_hartley
from pipelines.cryo_em.optics import OPTICS, transfer_function
from pipelines.cryo_em.poses import random_rotations
from pipelines.cryo_em.slices import gather, scatter

BOX, PIXEL = 12, 4.0


@dataclass(frozen=True)
class Images:
    """Rows as a batch, see `ooc.models.contract.BatchLike`."""

    arrays: dict[str, np.ndarray]
    step: int = 0
    seed: int = 0
    target: None = None
    weight: None = None
    roles: tuple[str, None, None] = ("X", None, None)

    @property
    def features(self) -> np.ndarray:
        return self.arrays["X"]

    @property
    def rows(self) -> np.ndarray:
        return np.arange(len(self.features))


def images_of(rows: int = 5, box: int = BOX) -> Images:
    rng = np.random.default_rng(3)
    optics = np.tile([1.5e4, 1.4e4, 0.4, 60.0, 300.0, 2.7, 0.1, 0.2], (rows, 1))
    optics[:, 0] += 3000 * rng.random(rows)
    return Images(
        {
            "X": rng.standard_normal((rows, box, box)),
            "rotation": random_rotations(rng, rows).astype(np.float64),
            "shift": rng.uniform(-2, 2, (rows, 2)),
            "optics": optics,
        }
    )


def model_of(**more: object) -> Density:
    rng = np.random.default_rng(4)
    settings = {"padding": 1.5, "noise": tuple(rng.uniform(0.5, 2, BOX // 2 + 1)), **more}
    model = Density(BOX, PIXEL, dtype="float64", **settings)
    scales = symmetric(rng.uniform(0.5, 2, (model.size,) * 3)).astype(np.float32)
    return replace(model, scales=scales)


def symmetric(values: np.ndarray) -> np.ndarray:
    inner = values[1:, 1:, 1:]
    inner += inner[::-1, ::-1, ::-1].copy()
    return values


def twin(model: Density, parameters: np.ndarray, images: Images) -> float:
    """Return the mean loss by a complex transform and whole images, in NumPy."""
    size, box = model.size, model.box
    hartley = parameters.reshape((size,) * 3) * model.scales
    mirrored = np.zeros_like(hartley)
    mirrored[1:, 1:, 1:] = hartley[:0:-1, :0:-1, :0:-1]
    complex_ = (hartley + mirrored) / 2 + 1j * (mirrored - hartley) / 2
    along = np.arange(box) - box // 2
    ky, kx = np.meshgrid(along, along, indexing="ij")
    radius = np.hypot(kx, ky)
    used = radius < min(model.last_ring + 0.5, (size / 2 - 1) * box / size)
    total = 0.0
    contrast = transfer_function(images.arrays["optics"], kx, ky, model.pixel, box)
    for r, image in enumerate(images.features):
        found = fft.fftshift(fft.fft2(fft.ifftshift(image))) / box
        shift = images.arrays["shift"][r]
        turn = np.exp(-2j * np.pi * (kx * shift[0] + ky * shift[1]) / box)
        rotation = images.arrays["rotation"][r]
        places = (kx[..., None] * rotation[0] + ky[..., None] * rotation[1])[..., ::-1]
        places = places * size / box + size // 2
        low = np.floor(places).astype(int)
        share = places - low
        value = np.zeros((box, box), complex)
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, share, 1 - share), axis=-1)
            at = np.minimum(low + corner, size - 1)
            value += weight * complex_[at[..., 0], at[..., 1], at[..., 2]]
        away = np.abs(contrast[r] * turn * value - found) ** 2
        noise = np.array(model.noise)[np.minimum(np.rint(radius).astype(int), box // 2)]
        total += 0.5 * (away / noise)[used].sum()
    return total / len(images.features)


@pytest.mark.slow
def test_the_loss_is_that_of_a_twin_in_numpy() -> None:
    model, images = model_of(), images_of()
    parameters = np.random.default_rng(0).standard_normal(model.size**3)
    loss = model.loss_and_grad(parameters, images, np.empty(parameters.size))
    assert_allclose(loss, twin(model, parameters, images), rtol=1e-10)


@pytest.mark.slow
def test_the_gradient_is_the_slope_of_the_loss() -> None:
    model, images = model_of(), images_of()
    rng = np.random.default_rng(1)
    parameters, gradient = rng.standard_normal((2, model.size**3))
    model.loss_and_grad(parameters, images, gradient)
    touched = np.flatnonzero(gradient)
    spare = np.empty_like(gradient)
    for place in rng.choice(touched, 20, replace=False):
        moved = [parameters.copy(), parameters.copy()]
        moved[0][place] += 1e-4
        moved[1][place] -= 1e-4
        up, down = (model.loss_and_grad(each, images, spare) for each in moved)
        assert_allclose(gradient[place], (up - down) / 2e-4, rtol=1e-6, atol=1e-8)


def test_slices_and_their_adjoint_have_the_same_dot_product() -> None:
    rng, size = np.random.default_rng(2), 14
    values, scales = rng.standard_normal((2, size**3))
    places = rng.uniform(-size / 2 + 1.01, size / 2 - 1.01, (200, 3))
    answers = rng.standard_normal((200, 2))
    out = np.zeros(size**3)
    left = 0.0
    for place, (here, there) in zip(places, answers, strict=True):
        found = gather(values, scales, size, *place)
        left += found[0] * here + found[1] * there
        scatter(out, scales, size, *place, here, there)
    assert_allclose(left, out @ values, rtol=1e-6)


@pytest.mark.parametrize(("box", "size"), [(12, 24), (13, 20), (16, 16)])
def test_the_hartley_transform_of_a_density_gives_it_back(box: int, size: int) -> None:
    volume = np.random.default_rng(0).standard_normal((box,) * 3)
    assert_allclose(from_hartley(to_hartley(volume, size), box), volume, rtol=1e-5, atol=1e-6)


def test_parameters_of_a_density_are_that_density() -> None:
    model, volume = model_of(), np.random.default_rng(0).standard_normal((BOX,) * 3)
    assert_allclose(model.volume(model.parameters_of(volume)), volume, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_no_eigenvalue_of_the_preconditioned_curvature_is_above_one() -> None:
    from ooc.kernels.share import Numbers
    from pipelines.cryo_em.kernel import add_curvature
    from pipelines.cryo_em.model import FURTHER

    model = Density(BOX, PIXEL, 1.5, dtype="float64")
    images = images_of(200)
    images.arrays["X"][:] = 0
    curvature = np.zeros(model.size**3)
    further = np.concatenate([images.arrays[name].reshape(200, -1) for name in FURTHER], axis=1)
    add_curvature(Numbers(model.reals, model.integers), further, curvature)
    model = model.preconditioned(curvature.reshape((model.size,) * 3) / 200)
    vector = np.random.default_rng(0).standard_normal(curvature.size)
    gradient, found = np.empty(curvature.size), 0.0
    for _ in range(30):  # of power iteration: without images the gradient is the curvature's
        vector /= np.linalg.norm(vector)
        model.loss_and_grad(vector, images, gradient)
        found = vector @ gradient
        vector = gradient.copy()
    assert 0.3 < found <= 1 + 1e-6


@pytest.mark.slow
def test_a_pixel_that_is_not_finite_is_an_error_with_its_row() -> None:
    model, images = model_of(), images_of()
    images.arrays["X"][3, 2, 2] = np.nan
    with pytest.raises(DataError, match="row 3"):
        model.loss_and_grad(np.zeros(model.size**3), images, np.empty(model.size**3))


@pytest.mark.slow
@pytest.mark.parametrize("value", [3.0, 1e30, np.nan, np.inf])
def test_a_pose_that_is_no_rotation_is_an_error_with_its_row(value: float) -> None:
    model, images = model_of(), images_of()
    images.arrays["rotation"][2] *= value
    with pytest.raises(DataError, match="row 2 is in a pose that is no rotation"):
        model.loss_and_grad(np.zeros(model.size**3), images, np.empty(model.size**3))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shift", "optics"])
def test_a_shift_or_optics_that_are_not_finite_are_an_error(name: str) -> None:
    model, images = model_of(), images_of()
    images.arrays[name][4, 1] = np.nan
    with pytest.raises(DataError, match="row 4"):
        model.loss_and_grad(np.zeros(model.size**3), images, np.empty(model.size**3))


def test_what_a_density_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="a box of 4 pixels"):
        Density(4, 1.0)
    with pytest.raises(InputError, match="noise has 7 positive variances"):
        Density(12, 1.0, noise=(1.0, 2.0))
    with pytest.raises(InputError, match="scales have the density's shape"):
        Density(12, 1.0, scales=np.ones((12, 12, 12)))
    with pytest.raises(InputError, match="was made for images of 12 x 12"):
        Density(12, 1.0).layout((13, 13))


def test_optics_are_told_in_their_order() -> None:
    assert len(OPTICS) == images_of().arrays["optics"].shape[1]
