"""A channel that stands is filled in, and the others are watched as if it did not."""

from dataclasses import dataclass

import numpy as np

from pipelines.beam_current.filling import fill, held, is_still, steps_of
from pipelines.beam_current.residuals import Residuals

GAINS = np.array([0.9, 1.0, 1.1, 1.0, 1.05])
TIMES = 16


@dataclass(frozen=True)
class Subspace:
    """Expects what lies in a subspace of relative windows."""

    axes: np.ndarray
    length: int = TIMES

    @property
    def gains(self) -> np.ndarray:
        return GAINS

    def residuals(self, windows: np.ndarray) -> Residuals:
        common = (windows / GAINS).mean(axis=2, keepdims=True)
        rows = (windows / GAINS / common - 1).reshape(len(windows), -1)
        unlike = rows - rows @ self.axes.T @ self.axes
        return Residuals(unlike.reshape(-1, len(GAINS)), common.reshape(-1))


def example() -> tuple[Subspace, np.ndarray]:
    """Return an expectation, and windows that are all as expected."""
    rng = np.random.default_rng(0)
    waves = rng.standard_normal((2, TIMES, len(GAINS)))
    waves -= waves.mean(axis=2, keepdims=True)
    axes = np.linalg.qr(waves.reshape(2, -1).T)[0].T
    relative = 0.01 * (rng.standard_normal((4, 2)) @ axes).reshape(4, TIMES, -1)
    current = 300 + np.linspace(0, 3, 4 * TIMES).reshape(4, TIMES, 1)
    return Subspace(axes), (current * GAINS * (1 + relative)).astype(np.float32)


def test_what_is_expected_takes_the_place_of_what_stands() -> None:
    expectation, windows = example()
    still = np.zeros((4, len(GAINS)), bool)
    still[1:3, 2] = True
    broken = windows.copy()
    broken[1:3, :, 2] = 0.0
    found = fill(expectation, broken, still, np.zeros(len(GAINS)))
    np.testing.assert_array_equal(found[:, :, [0, 1, 3, 4]], windows[:, :, [0, 1, 3, 4]])
    np.testing.assert_array_equal(found[[0, 3]], windows[[0, 3]])
    usual = np.abs(windows[1:3, :, 2] - 300 * GAINS[2]).max()
    assert np.abs(found[1:3, :, 2] - windows[1:3, :, 2]).max() < 0.3 * usual
    others = np.delete(np.arange(len(GAINS)), 2)
    before, after = (expectation.residuals(each).parts[:, others] for each in (broken, found))
    assert np.abs(after).max() < 0.1 * np.abs(before).max()


def test_channels_that_stand_are_told_by_their_steps() -> None:
    rng = np.random.default_rng(1)
    windows = 300 + rng.standard_normal((3, TIMES, 5))
    windows[1, :, 4] = windows[1, 0, 4]
    wanted = np.zeros((3, 5), bool)
    wanted[1, 4] = True
    np.testing.assert_array_equal(is_still(steps_of(windows)), wanted)
    np.testing.assert_allclose(steps_of(windows)[0, 0], np.mean(np.diff(windows[0, :, 0]) ** 2))


def test_a_window_of_which_nothing_is_left_is_taken_as_it_is() -> None:
    found, last = held(np.array([[True, True], [True, False]]), np.array([False, False]))
    np.testing.assert_array_equal(found, [[False, False], [False, False]])
    np.testing.assert_array_equal(last, [True, False])
