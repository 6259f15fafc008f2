"""The laws' pipeline: closed forms against independent ones, honest verdicts, a page of its own."""

import doctest
import importlib
import itertools
import json
import re
from pathlib import Path

import descent_laws
import laws_escape
import laws_stationary
import laws_walkers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws_page import page
from laws_result import QUICK, Chapter, Effort, Law, Picture, near, within
from laws_sorted import expected_bias
from laws_stationary import heavy_ball_variance, reshuffled_variance, sgd_variance
from laws_walkers import DoubleWell, Quadratic, columns
from scipy.linalg import solve_discrete_lyapunov

from ooc.models.contract import Model
from ooc.stream.loader import Batch

MODULES = sorted(path.stem for path in Path(descent_laws.__file__).parent.glob("laws_*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@given(st.floats(0.01, 1.9), st.integers(1, 64), st.floats(0, 0.95))
def test_heavy_ball_is_the_solution_of_its_lyapunov_equation(x: float, b: int, mu: float) -> None:
    """(w, v) goes on by a matrix, with noise x/sqrt(B) in w and 1/sqrt(B) in v; h = 1."""
    step = np.array([[1 - x, -x * mu], [1, mu]])
    noise = np.array([[-x], [1.0]])
    covariance = solve_discrete_lyapunov(step, noise @ noise.T / b)
    assert heavy_ball_variance(x, b, mu) == pytest.approx(covariance[0, 0], rel=1e-6)
    assert heavy_ball_variance(x, b, 0) == pytest.approx(sgd_variance(x, b))


@pytest.mark.parametrize(("rows", "batch"), [(4, 1), (6, 2), (6, 3)])
def test_reshuffled_variance_is_that_of_all_permutations(rows: int, batch: int) -> None:
    x, values = 0.3, np.arange(rows) ** 1.5
    values = (values - values.mean()) / values.std()
    steps = rows // batch
    ends = []
    for order in itertools.permutations(values):
        means = np.array(order).reshape(steps, batch).mean(axis=1)
        ends.append(x * (1 - x) ** np.arange(steps)[::-1] @ means)
    expected = np.mean(np.square(ends)) / (1 - (1 - x) ** (2 * steps))
    assert reshuffled_variance(x, rows, batch) == pytest.approx(expected)


def test_reshuffling_has_the_known_ratios() -> None:
    for x, ratio in ((0.5, 0.85535), (0.05, 0.0796547), (0.005, 8.39835e-4)):
        assert reshuffled_variance(x, 160, 8) / sgd_variance(x, 8) == pytest.approx(ratio, rel=1e-5)


@given(st.floats(0.01, 0.5), st.integers(1, 20))
def test_the_bias_of_sorted_rows_is_where_epochs_lead(x: float, half: int) -> None:
    w = 0.0
    for _ in range(2000 // half):
        for target in [-1] * half + [1] * half:
            w -= x * (w - target)
    assert expected_bias(x, 2 * half) == pytest.approx(w)


def test_escape_times_follow_arrhenius() -> None:
    """Between two low temperatures the logarithm grows by the depth over the temperature."""
    first, second = (laws_escape.escape_time(DoubleWell(), 1 / cold) for cold in (12, 13))
    assert np.log(second / first) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    "model",
    [
        Quadratic(curvatures=np.array([0.5, 2.0, 1.0, 3.0])),
        DoubleWell(),
        DoubleWell(places=(0.6, 1.5), depths=(1.2, 0.8)),
    ],
)
def test_gradients_are_slopes_of_losses(model: Model, rng: np.random.Generator) -> None:
    x = rng.standard_normal((7, 4)).astype(np.float32)
    batch = Batch({"X": x}, np.arange(7), 0, 0, ("X", None, None))
    places = np.array([-1.2, -0.3, 0.4, 1.1], np.float32)
    gradient, other = np.empty(4), np.empty(4)
    assert isinstance(model, Model)
    model.loss_and_grad(places, batch, gradient)
    for i in range(4):
        up, down = places.copy(), places.copy()
        up[i] += 2**-7
        down[i] -= 2**-7
        slope = model.loss_and_grad(up, batch, other) - model.loss_and_grad(down, batch, other)
        assert gradient[i] == pytest.approx(64 * slope, rel=1e-3, abs=1e-3)


def test_the_double_wells_mean_loss_is_its_energy() -> None:
    model = DoubleWell(places=(0.6, 1.5), depths=(1.2, 0.8))
    batch = Batch({"X": np.zeros((2, 3), np.float32)}, np.arange(2), 0, 0, ("X", None, None))
    places = np.array([-0.6, 0.7, 1.5], np.float32)
    loss = model.loss_and_grad(places, batch, np.empty(3))
    assert loss == pytest.approx(model.energy(places).sum())
    assert model.energy(np.array([-0.6, 1.5, 0])) == pytest.approx([-1.2, -0.8, 0])


@given(st.integers(3, 200), st.integers(1, 20), st.integers(0, 2**20))
def test_columns_are_standardised_and_uncorrelated(rows: int, walkers: int, seed: int) -> None:
    if walkers > rows // 2:
        return
    drawn = columns(rows, walkers, seed).astype(np.float64)
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(drawn.T @ drawn / rows, np.eye(walkers), atol=1e-4)


def test_hops_are_counted_from_bottom_to_bottom(rng: np.random.Generator) -> None:
    """A walker that comes back from the barrier has not escaped."""
    phases = np.cumsum(rng.standard_normal((3000, 5)) / 4, axis=0)
    paths = (1.5 * np.sin(phases)).astype(np.float32)
    observer = laws_escape.Hops(5)
    count, sides = 0, [-1] * 5
    for step, places in enumerate(paths):
        observer(places, step)
        for j, place in enumerate(places):
            if place * sides[j] <= -1:
                sides[j] = -sides[j]
                count += 1
    assert count > 20
    assert observer.count == count


def test_an_observer_sees_every_step_of_the_trainer(tmp_path: Path) -> None:
    """The last one, too; and the steps are those of the update rule."""
    rows = columns(20, 2, seed=0)
    dataset = laws_walkers.write_rows(tmp_path / "a.zarr", {"X": rows})
    seen: list[tuple[int, float]] = []
    run = laws_walkers.walk(
        Quadratic(1.0, curvatures=np.ones(2)),
        laws_stationary.optim.sgd(0.25),
        dataset,
        20,
        3,
        lambda places, step: seen.append((step, float(places[0]))),
        sampling="once",
    )
    assert [step for step, _ in seen] == [0, 1, 2, 3]
    assert [place for _, place in seen] == pytest.approx([1, 0.75, 0.75**2, 0.75**3], abs=1e-6)
    assert seen[-1][1] == run.parameters[0]


def test_a_quick_run_passes_and_says_that_it_is_quick(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, html = tmp_path / "laws.json", tmp_path / "laws.html"
    arguments = ["--quick", "--only", "sorted", "--json", str(table)]
    assert descent_laws.main([*arguments, "--html", str(html)]) == 0
    printed = capsys.readouterr().out
    assert f"tolerances {QUICK.widen:g} times as wide" in printed
    found = json.loads(table.read_text())
    laws = [law for chapter in found["chapters"] for law in chapter["laws"]]
    assert found["passed"] == found["laws"] == len(laws) == printed.count("  pass  ")
    for law in laws:
        assert law["name"] in printed
    shown = html.read_text()
    assert f"tolerances {QUICK.widen:g} times as wide" in shown
    sources = re.findall(r'src="([^"]*)"', shown)
    assert len(sources) == 1
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(re.findall(r'alt="([^"]+)"', shown))
    assert not re.search(r"https?://|<script|<link", shown)


@pytest.mark.slow
def test_every_law_passes_in_a_quick_run(tmp_path: Path) -> None:
    table = tmp_path / "laws.json"
    assert descent_laws.main(["--quick", "--json", str(table)]) == 0
    assert json.loads(table.read_text())["laws"] > 60


def test_a_law_that_fails_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(folder: Path, effort: Effort) -> tuple[Chapter, ...]:
        laws = (within("too far", "x", 1.0, 1.1, 0.0, 0.05), near("close", "x", 0.0, 0.1, 0, 0.2))
        return (Chapter("Broken", "Nothing.", laws, ()),)

    monkeypatch.setattr(descent_laws, "FAMILIES", {"broken": broken})
    html = tmp_path / "laws.html"
    assert descent_laws.main(["--html", str(html)]) == 1
    printed = capsys.readouterr().out
    assert "FAIL  too far" in printed
    assert "1 of 2 laws passed" in printed
    assert html.read_text().count(">FAIL<") == 1


def test_a_value_that_is_not_a_number_fails() -> None:
    assert not within("a", "x", 1.0, float("nan"), 0.0, 0.5).passed
    assert not near("a", "x", 1.0, float("nan"), 0.0, 0.5).passed


def test_the_page_escapes_what_it_shows() -> None:
    law = Law("<b>law</b>", "a < b", 1.0, 1.0, 0.0, '"', True)
    picture = Picture("<i>caption</i>", '"><script>', b"png")
    chapter = Chapter("<u>title</u>", "&", (law,), (picture,), table=(("<td>",), ("</td>x",)))
    shown = page([chapter], QUICK, "<s>")
    for raw in ("<b>law", "<i>caption", "<script>", "<u>title", "</td>x", "<s>"):
        assert raw not in shown


def test_a_folder_that_is_not_there_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert descent_laws.main(["--json", str(tmp_path / "absent" / "laws.json")]) == 2
    error = capsys.readouterr().err
    assert "is no folder to write laws.json to; make it first" in error
    assert error.count("\n") == 1
