"""Poses of images: likelihoods against twins in NumPy, and planted poses that are found."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from ooc.core.errors import InputError
from pipelines.cryo_em.bands import PADDING, Band, Spectra, half_plane, phase_ramps, spectra_of
from pipelines.cryo_em.cuts import cut
from pipelines.cryo_em.data import clean_images, draw_optics
from pipelines.cryo_em.density_sums import add_images, add_slices, density_of, empty_sums
from pipelines.cryo_em.maps import make_map
from pipelines.cryo_em.orientations import angles_between
from pipelines.cryo_em.passes import assign, ratio_of, reference_of
from pipelines.cryo_em.pose_state import SHIFT, new_state
from pipelines.cryo_em.poses import from_quaternions, random_rotations
from pipelines.cryo_em.projection import finer
from pipelines.cryo_em.refinement import POSE, move, normal_equations, refine, solve
from pipelines.cryo_em.resolution import Correlation, correlate
from pipelines.cryo_em.search import (
    best_poses,
    likelihoods,
    make_grid,
    slices_of,
    to_posterior,
    weigh,
)
from pipelines.cryo_em.start import begin, improve, make_search, temperature_of

BOX, PIXEL, ROWS = 32, 5.0, 40
NOISE = (1.0,) * (BOX // 2 + 1)


def images_of(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return clean images of the made density, with rotations, shifts and optics."""
    rng = np.random.default_rng(5)
    rotations, shifts = random_rotations(rng, rows), rng.uniform(-2, 2, (rows, 2))
    optics = draw_optics(rng, rows)
    images = clean_images(finer(make_map(BOX)), rotations, shifts, optics, PIXEL)
    return images, rotations.astype(np.float64), shifts, optics


def random_band(last: int = 5, rows: int = 6) -> tuple[Band, np.ndarray, Spectra]:
    rng = np.random.default_rng(6)
    band = Band(last, BOX, tuple(rng.uniform(0.5, 2, BOX // 2 + 1)))
    transform = band.transform(rng.standard_normal((band.inner,) * 3))
    values = rng.standard_normal((2, rows, len(band.samples)))
    spectra = Spectra((values[0] + 1j * values[1]).astype(np.complex64),
                      rng.uniform(-1, 1, values[0].shape).astype(np.float32))  # fmt: skip
    return band, transform, spectra


def test_half_a_plane_stands_for_all_of_it() -> None:
    samples = half_plane(7)
    assert (np.diff(samples[:, 2]) >= 0).all()
    both = {(x, y) for x, y, _ in samples.tolist()} | {(-x, -y) for x, y, _ in samples.tolist()}
    inside = {(x, y) for x in range(-8, 9) for y in range(-8, 9) if np.rint(np.hypot(x, y)) <= 7}
    assert both == inside
    assert len(both) == 2 * len(samples) - 1


@pytest.mark.slow
def test_coefficients_and_slices_are_of_one_scale() -> None:
    images, rotations, shifts, optics = images_of()
    band = Band(8, BOX, NOISE)
    spectra = spectra_of(images, optics, band, PIXEL)
    volume = make_map(BOX)
    whole = Band(15, BOX, NOISE)
    assert whole.inner == BOX
    slices = np.empty((ROWS, len(band.samples)), np.complex64)
    cut(whole.transform(volume), float(PADDING), band.samples, rotations, slices)
    turned = slices * phase_ramps(-shifts, band) * spectra.contrast
    away = np.linalg.norm(turned - spectra.values) / np.linalg.norm(spectra.values)
    assert away < 0.03


@pytest.mark.slow
def test_likelihoods_are_those_of_a_twin_in_numpy() -> None:
    band, transform, spectra = random_band()
    grid = make_grid(60.0, 2.0, 3)
    slices = slices_of(transform, float(PADDING), band, grid)
    found = np.empty((9, 6, len(grid.rotations)), np.float32)
    likelihoods(weigh(spectra, band, grid.shifts), slices, found)
    f = np.empty((len(grid.rotations), len(band.samples)), np.complex64)
    cut(transform, float(PADDING), band.samples, grid.rotations, f)
    kx, ky, rings = band.samples.T
    weights = 1 / np.array(band.noise)[rings]
    weights[rings == 0] /= 2
    for s, (x, y) in enumerate(grid.shifts):
        centred = spectra.values * np.exp(2j * np.pi * (kx * x + ky * y) / BOX)
        away = centred[:, None] - spectra.contrast[:, None] * f
        loss = (np.abs(away) ** 2 * weights).sum(axis=2)
        nothing = (np.abs(spectra.values) ** 2 * weights).sum(axis=1)
        assert_allclose(found[s], nothing[:, None] - loss, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_probabilities_and_best_poses_are_those_of_numpy() -> None:
    values = np.random.default_rng(7).normal(0, 3, (4, 5, 30)).astype(np.float32)
    posterior = values.copy()
    to_posterior(posterior, 1.3)
    weights = np.exp(values.astype(np.float64) / 1.3)
    assert_allclose(posterior, weights / weights.sum(axis=(0, 2), keepdims=True), rtol=1e-4)
    rotations, shifts = np.empty((2, 5, 3), np.int64)
    best_poses(values, rotations, shifts)
    of_rotation = values.max(axis=0)
    np.testing.assert_array_equal(rotations, np.argsort(-of_rotation, axis=1)[:, :3])
    np.testing.assert_array_equal(shifts, np.take_along_axis(values.argmax(axis=0), rotations, 1))


def test_putting_slices_in_is_the_adjoint_of_cutting_them_out() -> None:
    band, _, spectra = random_band()
    rng = np.random.default_rng(8)
    hartley = rng.standard_normal((band.size,) * 3)
    hartley[0], hartley[:, 0], hartley[:, :, 0] = 0, 0, 0  # they have no opposite
    mirrored = np.zeros_like(hartley)
    mirrored[1:, 1:, 1:] = hartley[:0:-1, :0:-1, :0:-1]
    transform = np.stack([hartley + mirrored, mirrored - hartley], axis=-1) / 2
    rotations, out = from_quaternions(rng.standard_normal((6, 4))), np.empty_like(spectra.values)
    cut(transform.astype(np.float32), float(PADDING), band.samples, rotations, out)
    sums = empty_sums(band)
    add_slices(sums, band, spectra.values, spectra.contrast**2, rotations)
    # Of a slice value both the frequency and its opposite are moved, hence twice.
    left = 2 * (out * spectra.values.conj()).real.sum()
    assert_allclose(left, sums[0] @ hartley.reshape(-1), rtol=1e-3)
    assert_allclose(sums[1].sum(), 2 * (spectra.contrast**2).sum(), rtol=1e-5)


@pytest.mark.slow
def test_steps_of_poses_follow_the_slope_of_the_loss() -> None:
    band, transform, spectra = random_band(rows=1)
    pose, work = np.empty(POSE), np.empty(16)
    # No frequency lies on a plane of the grid, where slopes jump.
    pose[:9] = random_rotations(np.random.default_rng(3), 1).reshape(-1)
    pose[9:] = 0.3, -0.7
    normal, slope = np.empty((5, 5)), np.empty(5)

    def loss_at(step: np.ndarray) -> float:
        moved = np.empty(POSE)
        move(pose, step, 5.0, moved)
        return normal_equations(transform, 2.0, band.samples, spectra.values[0],
                                spectra.contrast[0], band.weights, moved, BOX,
                                np.empty((5, 5)), np.empty(5), work)  # fmt: skip

    loss = normal_equations(transform, 2.0, band.samples, spectra.values[0], spectra.contrast[0],
                            band.weights, pose, BOX, normal, slope, work)  # fmt: skip
    assert_allclose(loss, loss_at(np.zeros(5)))
    for axis, step in enumerate(1e-5 * np.eye(5)):
        # The loss has no half in front of it, and steps go down it.
        assert_allclose(
            (loss_at(-step) - loss_at(step)) / 2e-5, 2 * slope[axis], rtol=1e-5, atol=1e-5
        )
    whole, step = np.tril(normal) + np.tril(normal, -1).T, np.empty(5)
    damped = whole + 0.1 * np.diag(np.diag(whole))
    assert solve(normal, slope, 0.1, step)
    assert_allclose(damped @ step, slope, rtol=1e-8)
    assert not solve(np.zeros((5, 5)), slope, 0.1, step)


def test_a_turn_is_a_rotation_and_shifts_have_an_end() -> None:
    pose, out = np.zeros(POSE), np.empty(POSE)
    pose[:9] = np.eye(3).reshape(-1)
    move(pose, np.array([0.1, -0.2, 0.15, 9.0, -9.0]), 2.0, out)
    turned = out[:9].reshape(3, 3)
    assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    assert_allclose(np.deg2rad(angles_between(turned[None], np.eye(3)[None])), 0.2693, atol=1e-4)
    assert out[9:].tolist() == [2.0, -2.0]


@pytest.mark.slow
def test_poses_that_are_off_are_made_better() -> None:
    images, rotations, shifts, optics = images_of()
    band = Band(12, BOX, (1e-4,) * (BOX // 2 + 1))
    spectra = spectra_of(images, optics, band, PIXEL)
    rng = np.random.default_rng(9)
    poses, moved = np.empty((ROWS, POSE)), np.empty(POSE)
    poses[:, :9], poses[:, 9:] = rotations.reshape(ROWS, 9), shifts
    for pose in poses:
        move(pose, np.concatenate([rng.normal(0, 0.07, 3), rng.normal(0, 0.4, 2)]), 3.0, moved)
        pose[:] = moved
    before = angles_between(poses[:, :9].reshape(-1, 3, 3), rotations)
    losses = np.empty(ROWS)
    whole = Band(15, BOX, NOISE)
    refine(whole.transform(make_map(BOX)), 2.0, band.samples, spectra.values, spectra.contrast,
           band.weights, BOX, 3.0, 12, poses, losses)  # fmt: skip
    after = angles_between(poses[:, :9].reshape(-1, 3, 3), rotations)
    assert np.median(before) > 5
    assert np.median(after) < 0.3
    assert np.median(np.abs(poses[:, 9:] - shifts)) < 0.05


@pytest.mark.slow
def test_planted_poses_are_found_from_nothing() -> None:
    images, rotations, shifts, optics = images_of()
    # Noise of a tenth of the signal's power in a pixel.
    sigma = np.sqrt(images.var() / 1.0)
    images = images + sigma * np.random.default_rng(10).standard_normal(images.shape)
    noise = np.full(BOX // 2 + 1, sigma**2)
    search = make_search(BOX, PIXEL, noise, 2.0, 10)
    band = Band(15, BOX, tuple(noise))
    reference = reference_of(make_map(BOX), band, search)
    state, rows = new_state(ROWS), np.arange(ROWS)
    spectra = spectra_of(images.astype(np.float32), optics, band, PIXEL)
    assert not state.known(rows).any()
    assign(state, rows, spectra, reference, band, search, 12, 2.0)
    assert state.known(rows).all()
    errors = angles_between(state.rotations(rows), rotations)
    assert np.median(errors) < 2
    assert np.mean(errors < 5) > 0.9
    assert np.median(np.abs(state.poses[:, SHIFT] - shifts)) < 0.2


@pytest.mark.slow
def test_images_in_their_poses_make_the_density() -> None:
    images, rotations, shifts, optics = images_of(1500)
    band = Band(15, BOX, NOISE)
    sums = empty_sums(band)
    add_images(sums, band, spectra_of(images, optics, band, PIXEL), rotations, shifts)
    found = density_of(sums, band, np.full(17, 100.0))
    assert correlate(found, make_map(BOX), PIXEL).values[1:14].min() > 0.9


@pytest.mark.slow
def test_a_start_is_a_ball_and_its_steps_find_more_in_images() -> None:
    images, _, _, optics = images_of(128)
    sigma = np.sqrt(images.var())
    noise = np.full(BOX // 2 + 1, sigma**2)
    images += (sigma * np.random.default_rng(11).standard_normal(images.shape)).astype(np.float32)
    search = make_search(BOX, PIXEL, noise, 2.0, 12)
    sums, volume = begin(search, images, optics, np.random.default_rng(12))
    gains = []
    for step in range(1, 9):
        first = gains[0] if gains else None
        volume, gain = improve(search, volume, sums, images, optics, step, first)
        gains.append(gain)
    assert gains[-1] > 1.2 * gains[0]
    assert temperature_of(12, 12, gains[0]) == 1.0


def test_shells_that_halves_do_not_share_are_trusted_least() -> None:
    shared = ratio_of(Correlation(np.array([1.0, 0.9, 0.5, 0.1, 0.8]), PIXEL, 8))
    assert_allclose(shared[1:3], [9.0, 1.0])
    assert_allclose(shared[3:], [1 / 9, 0.01 / 0.99])


@pytest.mark.parametrize(("last", "box", "message"), [
    (8, 16, "images of 16 x 16 pixels hold rings 1 to 7, and not a band up to ring 8"),
    (8, 33, "images of 33 x 33 pixels have no even side; crop or pad them"),
])  # fmt: skip
def test_a_band_that_images_do_not_hold_is_refused(last: int, box: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Band(last, box, NOISE)
