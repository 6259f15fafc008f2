"""Generated images: projections against closed forms, noise and signal as told, poses."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

import ooc
from ooc.core.errors import DataError, InputError
from ooc.core.progress import silent
from pipelines.cryo_em.data import Imaging, camera_of, make, open_images, spectrum_of
from pipelines.cryo_em.maps import fitted, make_map
from pipelines.cryo_em.optics import transfer_function
from pipelines.cryo_em.poses import first_bad_rotation, from_euler, random_rotations, to_euler
from pipelines.cryo_em.projection import finer, project
from pipelines.cryo_em.resolution import Correlation, correlate
from pipelines.cryo_em.training import check_images, noise_of

BOX = 24


def blobs(rng: np.random.Generator, box: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(-0.12, 0.12, (6, 3)) * box, rng.uniform(1.0, 1.6, 6)


@pytest.mark.slow
@pytest.mark.parametrize("box", [BOX, BOX + 1])
def test_projections_are_those_of_gaussians_in_closed_form(box: int) -> None:
    """Along axes and diagonals all planes are crossed alike: what is lost there is no mean."""
    rng = np.random.default_rng(0)
    centres, widths = blobs(rng, box)
    along = np.arange(box) - box // 2
    z, y, x = np.meshgrid(along, along, along, indexing="ij")
    volume = sum(
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * s * s))
        for (a, b, c), s in zip(centres, widths, strict=True)
    )
    turns = [(0, 0, 0), (0, 90, 0), (90, 90, 0), (0, 180, 30), (45, 90, 0), (45, 54.7356, 10)]
    special = from_euler(*np.array(turns, np.float64).T)
    rotations = np.concatenate([random_rotations(rng, 20), special]).astype(np.float32)
    images = np.empty((len(rotations), box, box), np.float32)
    project(finer(volume), rotations, images)
    v, u = np.meshgrid(along, along, indexing="ij")
    for row, (rotation, image) in enumerate(zip(rotations, images, strict=True)):
        expected = np.zeros((box, box))
        for centre, s in zip(centres, widths, strict=True):
            a, b, _ = rotation @ centre
            expected += (
                np.sqrt(2 * np.pi) * s * np.exp(-((u - a) ** 2 + (v - b) ** 2) / (2 * s * s))
            )
        assert np.abs(image - expected).max() < (0.01 if row < 20 else 0.03) * expected.max()


@pytest.mark.slow
def test_signal_to_noise_is_what_was_asked_for() -> None:
    camera = camera_of(make_map(BOX), 5.0, Imaging(0.05, seed=1))
    noisy = camera.draw(0, 300)
    # What is left between images and their noise has the variance of the signal.
    assert_allclose(noisy["X"].var(), 1.05, rtol=0.02)
    clean = camera.draw(7, 300, is_clean=True)["X"]
    assert_allclose(clean.var(axis=(1, 2)).mean(), 0.05, rtol=0.1)


@pytest.mark.slow
def test_noise_has_its_spectrum_and_is_found_in_corners(tmp_path: Path) -> None:
    whole = np.fft.irfft2(np.sqrt(spectrum_of(BOX)), (BOX, BOX))
    assert_allclose((whole**2).sum(), 1, rtol=1e-6)  # of variance 1
    make(tmp_path / "a.zarr", make_map(BOX), 5.0, 1000, Imaging(0.01), silent)
    found = noise_of(ooc.open(tmp_path / "a.zarr"))
    expected = spectrum_of(BOX)[0, : BOX // 2 + 1]
    assert_allclose(found[4:-1], expected[4:-1], rtol=0.2)


def test_images_are_written_out_of_core_and_used_again(tmp_path: Path) -> None:
    volume = make_map(16)
    dataset = open_images(tmp_path, volume, 5.0, 100, Imaging())
    assert dataset.rows == 100
    assert check_images(dataset) == (16, 5.0)
    again = open_images(tmp_path, volume, 5.0, 100, Imaging())
    assert again.path == dataset.path
    with pytest.raises(InputError, match="was made with map_sha256"):
        open_images(tmp_path, volume + 1, 5.0, 100, Imaging())
    with pytest.raises(InputError, match="positive, not 0"):
        Imaging(0.0)
    with pytest.raises(InputError, match="is empty"):
        camera_of(0 * volume, 5.0, Imaging())


def test_poses_and_optics_of_a_store_are_looked_at(tmp_path: Path) -> None:
    fields = {"X": ("float32", (16, 16)), "rotation": ("float32", (3, 3)),
              "shift": ("float32", (2,)), "optics": ("float32", (8,))}  # fmt: skip
    rows = {"X": np.zeros((20, 16, 16)), "rotation": np.tile(np.eye(3), (20, 1, 1)),
            "shift": np.zeros((20, 2)), "optics": np.ones((20, 8))}  # fmt: skip

    def store(name: str, attributes: dict, **changed: np.ndarray) -> ooc.open:
        shapes = {key: (kind, (rows | changed)[key].shape[1:]) for key, (kind, _) in fields.items()}
        with ooc.create(tmp_path / name, shapes, attributes) as writer:
            writer.append(rows | changed)
        return ooc.open(tmp_path / name)

    scaled = rows["rotation"].copy()
    scaled[7] *= 1.1
    with pytest.raises(DataError, match=r"row 7 of array rotation of .* is no rotation"):
        check_images(store("a.zarr", {"pixel": 2.0}, rotation=scaled))
    mirrored = rows["rotation"].copy()
    mirrored[3, 2, 2] = -1
    with pytest.raises(DataError, match="row 3 of array rotation"):
        check_images(store("b.zarr", {"pixel": 2.0}, rotation=mirrored))
    with pytest.raises(InputError, match="no pixel size: its attribute 'pixel' is None"):
        check_images(store("c.zarr", {}))
    with pytest.raises(InputError, match=r"images of shape \(16, 12\), and they must be square"):
        check_images(store("d.zarr", {"pixel": 2.0}, X=np.zeros((20, 16, 12))))
    nowhere = rows["shift"].copy()
    nowhere[11, 1] = np.nan
    with pytest.raises(DataError, match=r"row 11 of array shift .* is not finite"):
        check_images(store("e.zarr", {"pixel": 2.0}, shift=nowhere))


def test_euler_angles_are_those_of_scipy() -> None:
    angles = np.random.default_rng(0).uniform([-180, 1, -180], [180, 179, 180], (50, 3))
    expected = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
    assert_allclose(from_euler(*angles.T), expected, atol=1e-12)
    assert_allclose(to_euler(expected), angles, atol=1e-8)
    upright = from_euler([30.0], [0.0], [20.0])
    assert_allclose(from_euler(*to_euler(upright).T), upright, atol=1e-12)


def test_drawn_rotations_are_rotations_and_uniform_or_preferred() -> None:
    rng = np.random.default_rng(0)
    each = random_rotations(rng, 4000)
    assert first_bad_rotation(each) == -1
    assert np.abs(each.mean(axis=0)).max() < 0.04  # (3 sd are 0.027)
    some = random_rotations(rng, 4000, 0.9)
    assert first_bad_rotation(some) == -1
    assert (some[:, 2] @ [0, 0, 1] > 0.9).mean() > 0.25
    with pytest.raises(InputError, match=r"from 0 to 1, not 1.5"):
        random_rotations(rng, 3, 1.5)


def test_the_transfer_function_has_its_first_zero_where_defocus_puts_it() -> None:
    # Without aberration and amplitude contrast the phase is pi l d s^2: zero at s = 1/sqrt(l d).
    optics = np.array([[1.5e4, 1.5e4, 0.0, 0.0, 300.0, 0.0, 0.0, 0.0]])
    zero = 1 / np.sqrt(0.0196875 * 1.5e4)
    found = transfer_function(optics, np.array([zero * 64 * 5]), np.zeros(1), 5.0, 64)
    assert abs(found[0, 0]) < 1e-4
    # With astigmatism the defocus along the angle is U, and across it V.
    optics[0, :3] = 2e4, 1e4, np.pi / 2
    for place, defocus in ((0, 1e4), (1, 2e4)):
        k = np.zeros(2)
        k[place] = 10.0
        expected = np.sin(np.pi * 0.0196875 * defocus * (10 / 320) ** 2)
        found = transfer_function(optics, k[:1], k[1:], 5.0, 64)
        assert_allclose(found[0, 0], expected, atol=1e-4)


def test_shell_correlation_is_one_with_itself_and_small_with_noise() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 24, 24, 24))
    assert_allclose(correlate(one, 3 * one, 2.0).values, 1, rtol=1e-12)
    assert np.abs(correlate(one, other, 2.0).values[4:]).max() < 0.2
    # Equal signal and noise in both: a correlation of one half.
    mixed = correlate(one + other, one + rng.standard_normal(one.shape), 2.0).values
    assert_allclose(mixed[4:], 0.5, atol=0.12)
    falling = Correlation(np.array([1.0, 0.8, 0.4, 0.1]), 2.0, 8)
    assert falling.shell(0.5) == pytest.approx(1.75)
    assert falling.resolution(0.5) == pytest.approx(16 / 1.75)


def test_a_box_with_larger_voxels_keeps_the_density() -> None:
    volume = make_map(32)
    smaller, pixel = fitted(volume, 5.0, 20)
    assert pixel == 8.0
    # The integral over space stays.
    assert_allclose(smaller.sum() * 8.0**3, volume.sum() * 5.0**3, rtol=1e-5)
    cut, same = fitted(make_map(33), 5.0, 32)
    assert (cut.shape, same) == ((32, 32, 32), 5.0)
