"""The step that is taken where lanes meet."""

import numpy as np
import pytest

from ooc.engines.synchronisation import Synchronisation, outer_step


def test_a_change_that_stays_is_summed_as_nesterov_has_it() -> None:
    """After n rounds with the same change d: the velocity is d (1 - M^n) / (1 - M)."""
    how, change = Synchronisation(2, 0.8, 0.5), np.array([1.0, -2.0])
    parameters, velocity = np.zeros(2), np.zeros(2)
    expected = np.zeros(2)
    for number in range(1, 8):
        lanes = [parameters + 2 * change, parameters + 0.5 * change]
        parameters = outer_step(parameters, lanes, [1, 2], velocity, how)
        total = change * (1 - 0.8**number) / (1 - 0.8)
        np.testing.assert_allclose(velocity, total)
        expected += 0.5 * (change + 0.8 * total)
        np.testing.assert_allclose(parameters, expected)


def test_as_torch_takes_it() -> None:
    torch = pytest.importorskip("torch")
    how, generator = Synchronisation(2, 0.9, 0.7), np.random.default_rng(0)
    value = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.SGD([value], lr=0.7, momentum=0.9, nesterov=True)
    parameters, velocity = np.zeros(5), np.zeros(5)
    for _ in range(5):
        change = generator.standard_normal(5)
        parameters = outer_step(parameters, [parameters + change], [3], velocity, how)
        value.grad = torch.from_numpy(-change)
        descent.step()
        np.testing.assert_allclose(parameters, value.detach().numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_the_same_in_all_lanes_stays_to_the_last_bit(dtype: type) -> None:
    start = np.random.default_rng(1).standard_normal(100).astype(dtype)
    lanes, rows = [start.copy() for _ in range(3)], [7, 11, 13]
    found = outer_step(start, lanes, rows, np.zeros(100), Synchronisation(2, 0.9))
    assert found.dtype == dtype and (found == start).all()


def test_a_lane_without_rows_takes_no_part() -> None:
    lanes = [np.full(2, 4.0), np.full(2, np.nan)]
    found = outer_step(np.zeros(2), lanes, [5, 0], np.zeros(2), Synchronisation(2))
    assert found.tolist() == [4.0, 4.0]
