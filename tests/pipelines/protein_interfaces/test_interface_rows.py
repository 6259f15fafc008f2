"""Rows of protein interfaces: the measured ones, those drawn, and the way to coordinates and back.

What is expected comes from elsewhere: the publication, SciPy, and moments of distributions.
"""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

import ooc
from ooc.core.errors import InputError
from pipelines.protein_interfaces import coordinates
from pipelines.protein_interfaces.columns import (
    AREA,
    CHARACTERS,
    CLASSES,
    ENERGY,
    INTERFACE,
    NAMES,
    SURFACE,
    faults,
    hundredths,
)
from pipelines.protein_interfaces.complexes import FILE, FITTED, agreement, fit, predict, read
from pipelines.protein_interfaces.data import conditions_of, write_rows
from pipelines.protein_interfaces.world import draw_rows

REAL = os.environ.get("OOC_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="OOC_REAL_DATA is not set; it names the folder")


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    return draw_rows(np.random.default_rng(0), 20_000, FITTED)


@needs_real
def test_the_published_predictor_is_as_good_as_published() -> None:
    measured = read(Path(str(REAL)) / FILE)
    correlation, error = agreement(measured)
    assert correlation == pytest.approx(0.74, abs=0.005)
    assert error == pytest.approx(1.89, abs=0.01)
    entries = json.loads((Path(str(REAL)) / FILE).read_text())
    published = np.array([each["ba_val"] for each in entries.values()])
    told = predict(measured.contacts, measured.surface)
    assert np.abs(told - published).max() < 0.051  # they are printed with one digit


@needs_real
def test_the_constants_are_what_is_fitted_to_the_measured_complexes() -> None:
    assert fit(read(Path(str(REAL)) / FILE)) == FITTED


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(InputError, match=r"a.json does not exist; OOC_REAL_DATA names its folder"):
        read(path)
    path.write_text('{"1A2K": {"DG": 1}}')
    with pytest.raises(InputError, match="does not hold complexes as PRODIGY's: KeyError"):
        read(path)


def test_drawn_rows_keep_every_constraint(drawn: dict[str, np.ndarray]) -> None:
    assert drawn["X"].shape == (20_000, 64) == (len(drawn["y"]), len(NAMES))
    assert not any(faults(drawn["X"]).values())
    broken = drawn["X"][:7].copy()
    broken[0, 0], broken[1, 0], broken[3, AREA] = -1, 0.5, 0
    broken[2, INTERFACE.start] += 0.01
    broken[4, SURFACE.start] += 0.01
    broken[5, CHARACTERS.start] += 0.01
    broken[6, ENERGY] = np.nan
    assert list(faults(broken).values()) == [2, 0, 1, 1, 2, 1, 1]


def test_classes_counts_and_energies_are_those_of_the_parameters(
    drawn: dict[str, np.ndarray],
) -> None:
    x, shares = drawn["X"].astype(np.float64), np.array(FITTED.shares)
    found = np.bincount(drawn["y"], minlength=9) / len(x)
    assert np.abs(found - shares / shares.sum()).max() < 0.012
    means, counts = np.array(FITTED.contacts)[drawn["y"]], x[:, :6]
    assert np.abs(counts.mean(axis=0) / means.mean(axis=0) - 1).max() < 0.03
    variance = means + means**2 * ((1 + FITTED.size) * (1 + np.array(FITTED.dispersion)) - 1)
    spread = ((counts - means) ** 2).mean(axis=0)
    assert np.abs(spread / variance.mean(axis=0) - 1).max() < 0.08
    assert (spread / means.mean(axis=0)).min() > 1.5  # a Poisson's would be 1
    error = x[:, ENERGY] - predict(counts, x[:, CHARACTERS])
    assert error.std() == pytest.approx(FITTED.energy_spread, rel=0.02)
    of_area = counts @ FITTED.area[:6] + FITTED.area[6]
    assert np.std(x[:, AREA] / of_area) == pytest.approx(FITTED.area_spread, rel=0.03)


def test_a_surface_is_as_spread_as_its_dirichlet_distribution(
    drawn: dict[str, np.ndarray],
) -> None:
    label = CLASSES.index("OX")
    shares = drawn["X"][drawn["y"] == label][:, CHARACTERS].astype(np.float64) / 100
    mean = np.array(FITTED.surface[label]) / np.sum(FITTED.surface[label])
    np.testing.assert_allclose(shares.mean(axis=0), mean, atol=0.004)
    variance = mean * (1 - mean) / (FITTED.concentration + 1)
    np.testing.assert_allclose(shares.var(axis=0), variance, rtol=0.1)


def test_hundredths_go_to_the_largest_remainders() -> None:
    shares = np.array([[0.333333, 0.333333, 0.333334], [1, 0, 0], [0.00004, 0.00006, 0.9999]])
    found = hundredths(shares)
    assert found.tolist() == [[3333, 3333, 3334], [10_000, 0, 0], [0, 1, 9999]]


def test_a_dataset_is_a_function_of_its_seed_and_held_out_rows_are_others(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_rows(tmp_path / f"{name}.zarr", 5000, 3, FITTED)
    write_rows(tmp_path / "c.zarr", 5000, 3, FITTED, held_out=True)
    a, b, c = (
        next(iter(ooc.Loader(ooc.open(tmp_path / f"{name}.zarr"), 5000, shuffle="none")))["X"]
        for name in "abc"
    )
    np.testing.assert_array_equal(a, b)
    assert not set(map(bytes, a)) & set(map(bytes, c))


def test_a_class_without_rows_is_told(drawn: dict[str, np.ndarray]) -> None:
    rows = drawn["y"] != CLASSES.index("AB")
    with pytest.raises(InputError, match="of class AB there is no row among"):
        conditions_of(drawn["X"][rows], drawn["y"][rows])


def test_rows_come_back_from_coordinates(drawn: dict[str, np.ndarray]) -> None:
    """Counts, areas and energies are the same; what was drawn below a hundredth is rounded."""
    x = drawn["X"][:4000]
    found = coordinates.fit(x)
    points = found.of_rows(x, seed=5)
    assert points.shape == (4000, coordinates.SIZE) == (4000, 59)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=0.05)
    spreads = points.std(axis=0)
    assert spreads[coordinates.OF_ENERGY] == pytest.approx(coordinates.WIDER, abs=0.05)
    np.testing.assert_allclose(np.delete(spreads, coordinates.OF_ENERGY), 1, atol=0.05)
    back = coordinates.to_rows(found, points)
    assert not any(faults(back).values())
    percent = slice(CHARACTERS.start, SURFACE.stop)
    np.testing.assert_allclose(back[:, percent], x[:, percent], atol=0.041)
    rest = [k for k in range(64) if not percent.start <= k < percent.stop]
    np.testing.assert_allclose(back[:, rest], x[:, rest], rtol=1e-5)


def test_counts_become_nearly_normal(drawn: dict[str, np.ndarray]) -> None:
    from scipy.stats import kstest

    x = drawn["X"][:4000]
    points = coordinates.fit(x).of_rows(x, seed=5)
    for place in range(6):
        assert kstest(points[:, place], "norm").statistic < 0.05


def test_log_ratios_are_those_of_the_basis(drawn: dict[str, np.ndarray]) -> None:
    """The kernel's running means against a product with an orthonormal basis."""
    x = drawn["X"][:50]
    found = coordinates.fit(drawn["X"])
    points = found.of_rows(x, seed=5) / np.array(found.factor) + np.array(found.shift)
    logs = np.log(np.maximum(x[:, SURFACE].astype(np.float64), 0.0025))
    expected = (logs - logs.mean(axis=1, keepdims=True)) @ coordinates.basis()
    large = x[:, SURFACE].min(axis=1) > 0.5  # where a draw below a hundredth changes little
    assert large.sum() > 5
    np.testing.assert_allclose(points[large][:, coordinates.OF_SURFACE], expected[large], atol=0.02)


def test_whatever_a_generator_makes_becomes_a_row(drawn: dict[str, np.ndarray]) -> None:
    found = coordinates.fit(drawn["X"])
    wild = np.random.default_rng(1).standard_normal((500, coordinates.SIZE)) * 8
    rows = coordinates.to_rows(found, wild)
    assert not any(faults(rows).values())
    assert math.isclose(float(rows[:, INTERFACE].sum(axis=1).mean()), 100, abs_tol=1e-3)
