"""Numbers that are drawn are normal, by SciPy's tests, and a function of their place alone."""

import numpy as np
import pytest
from scipy import stats

from ooc.synthetic.normal_kernel import fill_compiled
from ooc.synthetic.normals import CURVED, FINE, GRID, PIECES, edges, fill_rounded, inverse


def drawn(seed: int, rows: int = 4000, columns: int = 64) -> np.ndarray:
    out = np.empty((rows, columns), np.float32)
    fill_compiled(seed, np.zeros((1, columns), "f4"), np.zeros(rows, np.int64), FINE, out)
    return out


@pytest.mark.parametrize("grid", [GRID, FINE])
@pytest.mark.parametrize("columns", [1, 2, 31])
def test_the_compiled_way_has_the_same_bits(columns: int, grid: int) -> None:
    means = np.random.default_rng(2).standard_normal((3, columns)).astype(np.float32)
    labels = np.arange(5000) % 3
    found, expected = np.empty((2, 5000, columns), np.float32)
    fill_compiled(11, means, labels, grid, found)
    fill_rounded(11, means, labels, grid, expected)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", [1, 2, 2**62])
def test_they_are_normal(seed: int) -> None:
    values = drawn(seed).astype(np.float64)
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-4
    assert np.abs(values.mean(axis=0)).max() < 5 / np.sqrt(len(values))
    # Variances of columns are chi-square, and the far ends have what is theirs.
    spread = (values**2).sum(axis=0)
    assert stats.kstest(spread, stats.chi2(len(values)).cdf).pvalue > 1e-4
    for share in (1e-2, 1e-3, 2e-4):
        for side in (values, -values):
            expected = share * values.size
            assert abs((side < stats.norm.ppf(share)).sum() - expected) < 5 * np.sqrt(expected)


def test_rows_and_columns_do_not_depend_on_each_other() -> None:
    values = drawn(7, 20_000, 8)
    for shifted in (np.roll(values, 1, axis=0), np.roll(values, 1, axis=1)):
        products = (values * shifted).ravel().astype(np.float64)
        assert abs(products.mean()) < 5 / np.sqrt(products.size)


def test_each_end_of_a_piece_is_scipy_s_and_what_lies_between_nearly() -> None:
    """Whether on a line or by Newton's method: in units of probability, as is promised."""
    ends = edges().astype(np.float64)
    pieces = np.arange(1, PIECES)
    np.testing.assert_allclose(ends[1:-1], stats.norm.ppf(pieces / PIECES), atol=4e-7)
    on_line = np.arange(CURVED, PIECES // 2)
    middle = (ends[on_line] + ends[on_line + 1]) / 2
    assert np.abs(stats.norm.cdf(middle) - (on_line + 0.5) / PIECES).max() < 2e-7
    for below in (2**-33, 1e-7, 1e-4, 0.4, 0.5, 0.6, 1 - 1e-4, 1 - 2**-33):
        assert inverse(below) == pytest.approx(stats.norm.ppf(below), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("columns", [1, 2, 7])
def test_they_lie_on_the_grid_around_their_means_and_depend_on_their_place_alone(
    columns: int,
) -> None:
    means = np.stack([np.full(columns, 3.0), np.full(columns, -2.0)]).astype(np.float32)
    labels, out = np.arange(3000) % 2, np.empty((3000, columns), np.float32)
    fill_compiled(5, means, labels, GRID, out)
    np.testing.assert_array_equal(out * GRID, np.rint(out * GRID))
    plain = drawn(5, 3000, columns)
    np.testing.assert_allclose(out, plain + means[labels], atol=0.5 / GRID + 1e-5)
    np.testing.assert_array_equal(plain[:, : columns - 1], drawn(5, 3000, 9)[:, : columns - 1])
    assert not np.array_equal(plain, drawn(6, 3000, columns))
