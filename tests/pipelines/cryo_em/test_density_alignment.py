"""A density that was turned, mirrored and moved is laid over itself, and poses with it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft

from pipelines.cryo_em.alignment import Alignment, align, fit_poses, mirror
from pipelines.cryo_em.density_sums import sphere
from pipelines.cryo_em.maps import make_map
from pipelines.cryo_em.orientations import angles_between
from pipelines.cryo_em.poses import random_rotations
from pipelines.cryo_em.projection import finer, project
from pipelines.cryo_em.resolution import correlate

BOX = 32


@pytest.mark.slow
@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_rotation_hand_and_shift_are_found(seed: int, is_mirrored: bool) -> None:
    truth, rng = make_map(BOX, seed), np.random.default_rng(seed)
    rotation = random_rotations(rng, 1)[0].astype(np.float64)
    # Laying the truth back is what makes the density that is to be found.
    planted = Alignment(rotation, rng.uniform(-0.7, 0.7, 3), False, 1.0).lay(truth)
    planted = mirror(planted) if is_mirrored else planted
    planted += 0.05 * rng.standard_normal(planted.shape).astype(np.float32)
    found = align(planted, truth)
    assert found.is_mirrored == is_mirrored
    assert angles_between(found.rotation[None], rotation.T[None])[0] < 0.5
    values = correlate(found.lay(planted) * sphere(BOX), truth * sphere(BOX), 5.0).values
    assert values[1:12].min() > 0.95
    again = align(planted, truth, found)
    assert again.is_mirrored == is_mirrored
    assert again.score >= found.score - 0.01


@pytest.mark.slow
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_poses_go_with_the_density(is_mirrored: bool) -> None:
    rng = np.random.default_rng(2)
    truth = make_map(BOX)
    alignment = Alignment(random_rotations(rng, 1)[0].astype(np.float64), np.zeros(3),
                          is_mirrored, 1.0)  # fmt: skip
    # The density that lies so in the truth: the truth, turned back, and mirrored back.
    back = Alignment(alignment.rotation.T, np.zeros(3), False, 1.0).lay(truth)
    found = mirror(back) if is_mirrored else back
    poses = random_rotations(rng, 4).astype(np.float64)
    ours, theirs = np.empty((2, 4, BOX, BOX), np.float32)
    project(finer(found), poses, ours)
    project(finer(truth), alignment.poses(poses), theirs)
    for one, other in zip(ours, theirs, strict=True):
        # Splines lose a little of what is finest.
        coarse = [fft.fft2(each)[:8, :8].reshape(-1) for each in (one, other)]
        both = np.vdot(*coarse).real / np.linalg.norm(coarse[0]) / np.linalg.norm(coarse[1])
        assert both > 0.99


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_poses_are_laid_over_others_without_a_density(is_mirrored: bool) -> None:
    rng = np.random.default_rng(3)
    given = random_rotations(rng, 300).astype(np.float64)
    alignment = Alignment(random_rotations(rng, 1)[0].astype(np.float64), np.zeros(3),
                          is_mirrored, 1.0)  # fmt: skip
    inverse = given @ alignment.rotation
    found = np.diag([-1.0, -1.0, 1.0]) @ inverse if is_mirrored else inverse
    found[:60] = random_rotations(rng, 60)  # a fifth lies about anywhere
    errors = angles_between(fit_poses(found, given), given)
    assert np.median(errors) < 5
    assert_allclose(angles_between(alignment.poses(found), given)[60:], 0, atol=1e-4)


def test_what_is_mirrored_twice_is_itself() -> None:
    volume = np.random.default_rng(4).standard_normal((8, 8, 8))
    assert_allclose(mirror(mirror(volume)), volume)
    assert mirror(volume)[4, 4, 4] == volume[4, 4, 4]
    assert mirror(volume)[5, 4, 3] == volume[3, 4, 5]
