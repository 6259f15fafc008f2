"""Every model of the table keeps the contract."""

import numpy as np
import pytest

from ooc.core.errors import DataError, InputError
from ooc.models import MODELS, Layout, Logistic, Model, Softmax, from_config
from ooc.stream.loader import Batch

# Small and smooth, so that a slope can be measured.
SETTINGS = {
    "mlp": {"hidden": (5,), "activation": "tanh"},
    "autoencoder": {"hidden": (3,), "code": 2, "activation": "tanh"},
}
WITH_TARGETS = [name for name in MODELS if MODELS[name]().needs_target]


def make(name: str, **settings: object) -> Model:
    return MODELS[name](**SETTINGS.get(name, {}), **settings)


def batch_of(model: Model, rng: np.random.Generator, rows: int = 50) -> Batch:
    x = rng.standard_normal((rows, 4)).astype(np.float32)
    y = rng.integers(0, 2, rows).astype(np.float32)
    return Batch({"X": x, "y": y}, np.arange(rows) + 1000, 0, 0, ("X", "y", None))


@pytest.mark.parametrize("name", MODELS)
class TestContract:
    def test_it_is_a_model_and_comes_back_from_its_config(self, name: str) -> None:
        model = make(name)
        assert isinstance(model, Model)
        assert model.name == name
        assert from_config(model.to_config()) == model

    def test_its_gradient_is_the_slope_of_its_loss(
        self, name: str, rng: np.random.Generator
    ) -> None:
        model, gradient = make(name), None
        layout, batch = model.layout((4,)), batch_of(model, rng)
        parameters = rng.standard_normal(layout.size).astype(np.float32)
        gradient = np.empty(layout.size)
        model.loss_and_grad(parameters, batch, gradient)
        other = np.empty(layout.size)
        for i in range(layout.size):
            up, down = parameters.copy(), parameters.copy()
            up[i] += 2**-7
            down[i] -= 2**-7
            slope = model.loss_and_grad(up, batch, other) - model.loss_and_grad(down, batch, other)
            assert gradient[i] == pytest.approx(slope * 64, rel=2e-3, abs=2e-4)

    def test_measured_loss_is_the_training_loss(self, name: str, rng: np.random.Generator) -> None:
        model = make(name)
        layout, batch = model.layout((4,)), batch_of(model, rng)
        parameters = rng.standard_normal(layout.size).astype(np.float32)
        loss = model.loss_and_grad(parameters, batch, np.empty(layout.size))
        measured = model.measure(parameters, batch)
        assert measured.rows == measured.weight == 50
        assert measured.loss / 50 == pytest.approx(loss, rel=1e-6)

    def test_predictions_are_named_and_one_a_row(self, name: str, rng: np.random.Generator) -> None:
        model = make(name)
        layout, batch = model.layout((4,)), batch_of(model, rng)
        parameters = rng.standard_normal(layout.size).astype(np.float32)
        outputs = model.predict(parameters, batch.features)
        assert len(outputs["prediction"]) == 50
        if "probability" in outputs:
            probability = outputs["probability"].reshape(50, -1)
            chosen = outputs["prediction"]
            if probability.shape[1] > 1:
                np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-5)
                assert np.array_equal(probability.argmax(axis=1), chosen)
            else:
                assert np.array_equal(probability[:, 0] > 0.5, chosen == 1)

    def test_a_bad_value_is_named_by_its_row(self, name: str, rng: np.random.Generator) -> None:
        model = make(name)
        layout, batch = model.layout((4,)), batch_of(model, rng)
        parameters, gradient = np.zeros(layout.size, np.float32), np.empty(layout.size)
        batch.arrays["X"][33, 2] = np.inf
        with pytest.raises(DataError, match="row 1033 has inf in feature 2"):
            model.loss_and_grad(parameters, batch, gradient)
        if not model.needs_target:
            return
        batch.arrays["X"][33, 2] = 0
        batch.arrays["y"][7] = np.nan
        with pytest.raises(DataError, match="row 1007 has target nan"):
            model.loss_and_grad(parameters, batch, gradient)

    def test_scale_multiplies_every_feature(self, name: str, rng: np.random.Generator) -> None:
        model, scaled = make(name), make(name, scale=0.25)
        layout = model.layout((4,))
        parameters = rng.standard_normal(layout.size).astype(np.float32)
        x = rng.standard_normal((20, 4)).astype(np.float32)
        for output, values in model.predict(parameters, x).items():
            factor = 4 if name == "autoencoder" and output == "prediction" else 1
            assert np.array_equal(values * factor, scaled.predict(parameters, x * 4)[output])


@pytest.mark.parametrize("name", WITH_TARGETS)
def test_targets_of_another_shape_are_refused(name: str) -> None:
    make(name).check_target(())
    make(name).check_target((1,))
    with pytest.raises(InputError, match=r"takes 1 target value a row, but the targets have 3"):
        make(name).check_target((3,))


def test_weights_multiply_losses_and_gradients(rng: np.random.Generator) -> None:
    """Weight 2 is a row twice; the mean is over rows, whatever the weights."""
    x, y = rng.standard_normal((30, 4)).astype("f4"), rng.integers(0, 2, 30).astype("f4")
    weight = rng.integers(0, 4, 30).astype("f4")
    repeated = np.repeat(np.arange(30), weight.astype(int))
    model, parameters = Logistic(), rng.standard_normal(5).astype(np.float32)
    one, two = np.empty(5), np.empty(5)
    weighted = Batch({"X": x, "y": y, "w": weight}, np.arange(30), 0, 0, ("X", "y", "w"))
    doubled = Batch({"X": x[repeated], "y": y[repeated]}, repeated, 0, 0, ("X", "y", None))
    loss = model.loss_and_grad(parameters, weighted, one) * 30
    assert loss == pytest.approx(
        model.loss_and_grad(parameters, doubled, two) * len(repeated), rel=1e-5
    )
    np.testing.assert_allclose(one * 30, two * len(repeated), rtol=1e-4, atol=1e-5)
    a, b = model.measure(parameters, weighted), model.measure(parameters, doubled)
    assert (a.weight, a.correct) == (b.weight, b.correct)


def test_extreme_log_odds_are_probabilities() -> None:
    found = Logistic(intercept=False).predict(np.float32([1]), np.float32([[1e4], [-1e4], [0]]))
    assert found["probability"].tolist() == [1.0, 0.0, 0.5]


def test_a_layout_refuses_another_vector() -> None:
    with pytest.raises(InputError, match="vector of 6 entries"):
        Layout({"a": (2, 3)}).views(np.zeros(7))


def test_views_share_the_vector() -> None:
    parameters = np.zeros(8)
    Layout({"a": (2, 3), "b": (2,)}).views(parameters)["b"][1] = 5
    assert parameters[-1] == 5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "forest"}, "choose one of: linear, logistic, softmax, svm, mlp"),
        ({"name": "linear", "depth": 3}, "cannot be made"),
        ({"name": "softmax", "classes": 1}, "at least 2 classes, not 1"),
    ],
)
def test_a_model_that_cannot_be_made(config: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_config(config)


def test_softmax_of_two_classes_is_logistic(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((20, 3)).astype("f4"), rng.standard_normal(4).astype("f4")
    two = Softmax(classes=2).predict(np.concatenate([0 * w[:3], w[:3], [0], w[3:]]).astype("f4"), x)
    np.testing.assert_allclose(
        two["probability"][:, 1], Logistic().predict(w, x)["probability"], rtol=1e-5
    )
