"""The events' pipeline: densities that are what they say, masses, and what is learned."""

import json
from pathlib import Path

import numpy as np
import particles
import particles_events as events
import pytest
import zarr
from sklearn.metrics import roc_auc_score

from ooc.core.errors import InputError


def drawn(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    columns = events.draw_events(np.random.default_rng(seed), rows)
    return columns["X"], columns["y"]


def test_the_likelihood_ratio_is_calibrated() -> None:
    """Among events that are signal with a probability of p, a share of p is signal."""
    x, y = drawn(200_000)
    log_odds = events.log_likelihood_ratio(x) + particles.PRIOR
    probability = 1 / (1 + np.exp(-log_odds))
    for tenth in range(10):
        some = (10 * probability).astype(int) == tenth
        expected, found = probability[some].sum(), y[some].sum()
        spread = np.sqrt((probability[some] * (1 - probability[some])).sum())
        assert abs(found - expected) < 4 * spread


def test_each_density_is_that_of_its_events() -> None:
    """The mean of the log-likelihood ratio is the divergence: positive, and of either sign."""
    x, y = drawn(50_000)
    ratio = events.log_likelihood_ratio(x)
    assert ratio[y == 1].mean() > 0.5
    assert ratio[y == 0].mean() < -0.5
    assert y.mean() == pytest.approx(events.SIGNAL_SHARE, abs=0.01)


def test_low_level_features_are_in_their_range() -> None:
    x, _ = drawn(20_000)
    assert x.shape[1] == len(events.FEATURES) == 28
    assert (x[:, events.PT] > 0).all()
    assert (np.abs(x[:, events.PHI]) <= np.pi + 1e-6).all()
    assert set(np.unique(x[:, events.TAG])) == {0.0, 1.0, 2.0}


def test_masses_do_not_change_when_the_event_is_turned_about_the_beam() -> None:
    low = drawn(1000)[0][:, :21].astype(np.float64)
    turned = low.copy()
    turned[:, events.PHI] += 1.234
    np.testing.assert_allclose(events.masses(turned), events.masses(low), rtol=1e-6, atol=1e-5)


def test_the_mass_of_two_jets_is_its_textbook_formula() -> None:
    """m^2 = 2 pT1 pT2 (cosh(eta1 - eta2) - cos(phi1 - phi2)) of two massless particles."""
    low = drawn(1000)[0][:, :21].astype(np.float64)
    (p, q), (eta, nu), (phi, chi) = low[:, [5, 9]].T, low[:, [6, 10]].T, low[:, [7, 11]].T
    expected = np.sqrt(2 * p * q * (np.cosh(eta - nu) - np.cos(phi - chi)))
    np.testing.assert_allclose(events.masses(low)[:, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_network_finds_more_than_a_line_and_less_than_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--rows", "60k", "--held-out", "20k", "--epochs", "2", "--batch-size", "128"]
    arguments += ["--hidden", "64,64", "--lr", "3e-3", "--folder", str(tmp_path)]
    assert particles.main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    auc = {line[:20].strip(): float(line[20:28]) for line in printed[2:5]}
    assert auc["ooc logistic"] + 0.02 < auc["ooc mlp"] < auc["likelihood ratio"]
    unseen = zarr.open_group(tmp_path / "held-out-20000-seed0.zarr", mode="r")
    best = roc_auc_score(unseen["y"][:], events.log_likelihood_ratio(unseen["X"][:]))
    assert auc["likelihood ratio"] == pytest.approx(best, abs=1e-4)
    assert (tmp_path / "particles.png").read_bytes().startswith(b"\x89PNG")
    saved = json.loads((tmp_path / "mlp-run" / "run.json").read_text())
    assert saved["model"]["hidden"] == [64, 64]


def test_other_events_are_not_used_again(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    assert particles.open_or_make(path, 500, 1, False).rows == 500
    with pytest.raises(InputError, match=r"a.zarr has 500 events of seed 1, not 500 of seed 2"):
        particles.open_or_make(path, 500, 2, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden", "8,0"], "hidden width must be a whole number of at least 1, not 0"),
        (["--rows", "10", "--batch-size", "11"], "a batch at most the 10 events"),
        (["--memory", "lots"], "'lots' is not a size"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert particles.main([*arguments, "--folder", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("particles: ")
    assert message in shown.err
    assert not (tmp_path / "out").exists()
