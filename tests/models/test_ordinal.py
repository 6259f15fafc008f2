"""The ordinal head: gradients by a twin, the maximum of a likelihood, answers, refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from networks import forward, weights_and_biases
from scipy.optimize import minimize
from scipy.special import expit

import ooc
from ooc.core.errors import DataError, InputError
from ooc.core.random_keys import Purpose, generator
from ooc.models import MLP, from_config
from ooc.models.contract import Layout
from ooc.stream.batch import Batch

MEMORY = "512MiB"


def batch_of(x: np.ndarray, y: np.ndarray, seed: int = 0) -> Batch:
    return Batch({"X": x, "y": y}, np.arange(len(x)), 0, seed, ("X", "y", None))


def start(model: MLP, features: int, seed: int = 0) -> tuple[Layout, np.ndarray]:
    """Return a layout, and first parameters with something added to all that is trained."""
    layout = model.layout((features,))
    parameters = model.init(layout, generator(seed, Purpose.PARAMETERS))
    parameters += 0.1 * np.random.default_rng(seed).standard_normal(parameters.size)
    for name in layout.fixed:
        layout.views(parameters)[name][:] = 0
    return layout, parameters


def twin(layout: Layout, parameters: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return probabilities (rows, K) of a network of tanh layers, as a textbook has them."""
    views = layout.views(parameters.astype(np.float64))
    first, *gaps = views["thresholds"]
    thresholds = np.cumsum([first, *np.log1p(np.exp(gaps))])
    parts = Layout({name: v.shape for name, v in views.items() if name != "thresholds"})
    values = forward(weights_and_biases(parts, parameters[: parts.size]), x)[-1]
    below = expit(thresholds - values)
    ends = np.ones((len(x), 1))
    return np.diff(np.concatenate([0 * ends, below, ends], axis=1), axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("hidden", [(), (5, 4)])
@pytest.mark.parametrize("classes", [2, 5])
def test_gradient_is_the_slope_of_the_twins_loss(
    classes: int, hidden: tuple[int, ...], shared: bool, rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In float64, of every parameter that is trained; in one share and in several."""
    if shared:
        monkeypatch.setattr("ooc.models.network.SHARE_ROWS", 8)
        monkeypatch.setattr("ooc.models.network.SHARE_WORK", 0)
    model = MLP(hidden, "tanh", head="ordinal", outputs=classes, dtype="float64")
    x, y = rng.standard_normal((60, 3)), rng.integers(0, classes, 60)
    layout, parameters = start(model, 3)
    gradient = np.empty(layout.size)
    loss = model.loss_and_grad(parameters, batch_of(x, y), gradient)

    def naive(at: np.ndarray) -> float:
        return -float(np.mean(np.log(twin(layout, at, x)[np.arange(60), y])))

    assert loss == pytest.approx(naive(parameters), rel=1e-12)
    trained = np.concatenate(
        [np.full(stop - start, name not in layout.fixed)
         for name, (start, stop) in layout.spans().items()]
    )  # fmt: skip
    for i in np.flatnonzero(trained):
        step = 1e-5 * (np.arange(layout.size) == i)
        slope = (naive(parameters + step) - naive(parameters - step)) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-9)
    assert not gradient[~trained].any()
    measured = model.measure(parameters, batch_of(x, y))
    assert measured.loss / 60 == pytest.approx(loss, rel=1e-12)


def test_float32_has_the_gradient_of_float64(rng: np.random.Generator) -> None:
    """Dropout and weights of classes included; scores are far, thresholds near."""
    settings: dict[str, Any] = {"head": "ordinal", "outputs": 6, "dropout": 0.2}
    settings |= {"hidden": (7,), "class_weights": (1, 2, 1, 0.5, 1, 3)}
    x = 5 * rng.standard_normal((300, 4))
    batch, found = batch_of(x.astype("f4"), rng.integers(0, 6, 300), 7), []
    for dtype in ("float32", "float64"):
        model = MLP(**settings, dtype=dtype)
        layout, parameters = start(model, 4)
        layout.views(parameters)["thresholds"][2] = -20
        gradient = np.empty(layout.size)
        loss = model.loss_and_grad(parameters, batch, gradient)
        found.append((loss, gradient))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-3, atol=1e-5)


def ordered_rows(rows: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, labels 0 to 4 of a proportional-odds model, and its probabilities."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 3))
    below = expit(np.array([-2.0, -0.5, 0.25, 1.5]) - (x @ [1.0, -0.5, 0.25])[:, None])
    y = (rng.random((rows, 1)) > below).sum(axis=1)
    return x, y, below


@pytest.mark.slow
def test_a_linear_one_comes_to_the_maximum_of_the_likelihood(tmp_path: Path) -> None:
    """That of an ordered logit, as SciPy finds it by other coordinates: the thresholds as such."""
    x, y, _ = ordered_rows(900)

    def loss(point: np.ndarray) -> float:
        ends = np.concatenate([[-np.inf], np.sort(point[3:]), [np.inf]])
        values = x @ point[:3]
        return -float(np.mean(np.log(expit(ends[y + 1] - values) - expit(ends[y] - values))))

    best = minimize(loss, [0, 0, 0, -2, -1, 1, 2], method="BFGS", options={"gtol": 1e-7})
    data = write_dataset(tmp_path / "a.zarr", chunk_rows=100, X=x, y=y)
    model = MLP((), head="ordinal", outputs=5, standardise=False, dtype="float64")
    run = ooc.Trainer(model, ooc.optim.lbfgs(), memory=MEMORY).fit(data, 200)
    views = run.layout.views(run.parameters)
    np.testing.assert_allclose(views["layer1.weights"][0], best.x[:3], atol=2e-5)
    first, *gaps = views["thresholds"]
    thresholds = np.cumsum([first, *np.logaddexp(0, gaps)])
    np.testing.assert_allclose(thresholds, best.x[3:], atol=2e-5)
    assert run.evaluate(data)["loss"] == pytest.approx(best.fun, rel=1e-9)
    assert views["layer1.biases"] == 0


@pytest.mark.slow
def test_mini_batches_learn_an_order(tmp_path: Path) -> None:
    x, y, below = ordered_rows(8000)
    data = write_dataset(tmp_path / "a.zarr", chunk_rows=200, X=x.astype("f4"), y=y.astype("i1"))
    model = MLP((8,), head="ordinal", outputs=5)
    run = ooc.Trainer(model, ooc.optim.adam(0.01), 100, memory=MEMORY).fit(data, 6)
    shares = run.predict(data, output="probability")
    assert shares.shape == (8000, 5) and shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert np.abs(np.cumsum(shares, axis=1)[:, :4] - below).mean() < 0.03
    found = run.evaluate(data)
    assert found["within_one"] > 0.7 and found["quadratic_weighted_kappa"] > 0.3
    likeliest, median = run.predict(data), run.predict(data, output="median")
    assert np.array_equal(likeliest, shares.argmax(axis=1))
    assert np.abs(median - y).mean() <= np.abs(likeliest - y).mean()
    assert (np.cumsum(shares, axis=1) >= 0.5).argmax(axis=1).tolist() == median.tolist()


def test_one_head_is_the_other_of_two_labels(rng: np.random.Generator) -> None:
    """P(y = 1) is the sigmoid of f less the threshold, as the binary head's of f plus a bias."""
    x, y = rng.standard_normal((50, 3)).astype("f4"), rng.integers(0, 2, 50)
    ordered, binary = MLP((), head="ordinal", outputs=2), MLP((), head="binary")
    parameters = np.float32([1, -2, 0.5, 0, 0.75])
    same = np.float32([1, -2, 0.5, -0.75])
    ours, theirs = ordered.predict(parameters, x), binary.predict(same, x)
    np.testing.assert_allclose(ours["probability"][:, 1], theirs["probability"], rtol=1e-5)
    assert ours["prediction"].tolist() == theirs["prediction"].tolist()
    batch = batch_of(x, y)
    one, other = (m.measure(p, batch) for m, p in ((ordered, parameters), (binary, same)))
    assert one.loss == pytest.approx(other.loss, rel=1e-5)
    answers: tuple[Any, Any] = one.answers, other.answers
    np.testing.assert_allclose(answers[0].log_odds, answers[1].log_odds, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"outputs": 1}, "the ordinal head needs at least 2 classes, not 1; give them as outputs"),
        ({"outputs": 3, "loss": "huber"}, "the ordinal head has its own loss"),
        ({"outputs": 3, "class_weights": (1, 2)}, "mlp takes 3 finite class weights"),
    ],
)
def test_a_head_that_cannot_be(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_config({"name": "mlp", "head": "ordinal", **config})


def test_a_label_that_is_none_is_named(rng: np.random.Generator) -> None:
    model = MLP((3,), head="ordinal", outputs=4)
    layout, parameters = start(model, 2)
    batch = batch_of(rng.standard_normal((30, 2)), np.full(30, 4.0))
    with pytest.raises(DataError, match=r"row 0 of y has target 4\.0.*whole labels from 0 to 3"):
        model.loss_and_grad(parameters, batch, np.empty(layout.size))


def test_thresholds_are_not_penalised_and_the_last_bias_not_trained() -> None:
    layout = MLP((4,), head="ordinal", outputs=6, standardise=True).layout((3,))
    assert layout.shapes["thresholds"] == (5,)
    assert "thresholds" in layout.unpenalised and "thresholds" not in layout.fixed
    assert layout.fixed == {
        "layer2.biases", "feature_mean", "feature_mean_rest", "feature_deviation",
    }  # fmt: skip
