"""Every model of the table keeps the contract, by its general path and by the compiled loop."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.core.errors import DataError, InputError
from ooc.engines.batch_engine import BatchEngine
from ooc.engines.window_engine import WindowEngine
from ooc.kernels.counters import NEVER
from ooc.models import MODELS, Layout, Logistic, Model, Softmax, declarations, from_config
from ooc.models.declarations import (
    Needs,
    dtype_of,
    kernel_of,
    needs_of,
    phases_of,
    predictions_of,
    scratch_bytes_of,
    terms_of,
)
from ooc.models.train_state import start
from ooc.optim import adam, sgd
from ooc.store.dataset import Dataset
from ooc.stream.batch import Batch
from ooc.stream.loader import Loader

# Small and smooth, so that a slope can be measured.
SETTINGS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": (5,), "activation": "tanh"},
    "autoencoder": {"hidden": (3,), "code": 2, "activation": "tanh"},
    "embedding_mlp": {
        "vocabulary": 5, "length": 2, "width": 3, "figure_hidden": (3,), "hidden": (4,),
        "activation": "tanh",
    },
}  # fmt: skip
WITH_TARGETS = [name for name in MODELS if MODELS[name]().needs_target]
OF_FLOATS = [name for name in MODELS if needs_of(MODELS[name]()).features == "floats"]
COMPILED = [name for name in MODELS if hasattr(MODELS[name], "kernel")]
STANDARDISING = [name for name in MODELS if hasattr(MODELS[name](), "standardise")]
FEATURES = 4


def make(name: str, **settings: Any) -> Model:
    given = dict(SETTINGS.get(name, {}))
    if name in STANDARDISING:
        given["standardise"] = False
    model: Model = MODELS[name](**{**given, **settings})
    return model


def arrays_of(model: Model, rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Return what a model asks for, by its own declaration."""
    needs: Needs = needs_of(model)
    x = rng.standard_normal((rows, FEATURES)).astype(np.float32)
    if needs.features == "integers":
        x = rng.integers(0, 2, (rows, FEATURES))
    arrays = {"X": x, "y": rng.integers(0, 2, rows).astype(np.float32)}
    arrays |= {name: rng.standard_normal((rows, 2)) for name in needs.further}
    return arrays | {name: rng.integers(0, 2, (rows, 2)) for name in needs.integers}


def batch_of(model: Model, rng: np.random.Generator, rows: int = 50) -> Batch:
    roles = ("X", "y", None)
    return Batch(arrays_of(model, rng, rows), np.arange(rows) + 1000, 0, 0, roles)


def point_of(model: Model, layout: Layout, rng: np.random.Generator) -> np.ndarray:
    """Return parameters away from any special place; fixed parts as a model begins with them."""
    first = model.init(layout, rng)
    for name, view in layout.views(first).items():
        if name not in layout.fixed:
            view[...] = rng.standard_normal(view.shape)
    return first


@pytest.mark.parametrize("name", MODELS)
class TestContract:
    def test_it_is_a_model_and_comes_back_from_its_config(self, name: str) -> None:
        for model in (make(name), MODELS[name]()):
            assert isinstance(model, Model)
            assert model.name == name
            assert from_config(json.loads(json.dumps(model.to_config()))) == model

    def test_what_it_declares_fits_its_layout(self, name: str) -> None:
        model = make(name)
        layout = model.layout((FEATURES,))
        assert layout.unpenalised <= set(layout.shapes)
        assert layout.fixed <= layout.unpenalised
        assert set(layout.groups) <= set(layout.shapes)
        phases = [phase.name for phase in phases_of(model)]
        assert set(layout.groups.values()) <= set(phases)
        assert len(terms_of(model)) >= 1
        mask, spans = layout.penalised(), layout.spans()
        assert mask.shape == (layout.size,)
        for part, (begin, end) in spans.items():
            assert set(mask[begin:end].tolist()) == {part not in layout.unpenalised}
        assert sum(end - begin for begin, end in spans.values()) == layout.size
        assert 0 <= scratch_bytes_of(model, layout, 10) <= scratch_bytes_of(model, layout, 10000)

    def test_it_starts_from_parameters_that_a_generator_decides(self, name: str) -> None:
        model = make(name)
        layout = model.layout((FEATURES,))
        one, two = (model.init(layout, np.random.default_rng(3)) for _ in range(2))
        assert one.shape == (layout.size,)
        assert one.dtype == dtype_of(model)
        assert np.array_equal(one, two)
        assert np.isfinite(one).all()

    def test_its_gradient_is_the_slope_of_its_loss(
        self, name: str, rng: np.random.Generator
    ) -> None:
        model = make(name)
        layout, batch = model.layout((FEATURES,)), batch_of(model, rng)
        parameters = point_of(model, layout, rng)
        gradient, other = np.empty(layout.size), np.empty(layout.size)
        model.loss_and_grad(parameters, batch, gradient)
        for part, (begin, end) in layout.spans().items():
            for i in range(begin, end) if part not in layout.fixed else ():
                up, down = parameters.copy(), parameters.copy()
                up[i] += 2**-7
                down[i] -= 2**-7
                above = model.loss_and_grad(up, batch, other)
                slope = above - model.loss_and_grad(down, batch, other)
                assert gradient[i] == pytest.approx(slope * 64, rel=2e-3, abs=2e-4)

    def test_measured_loss_is_the_training_loss(self, name: str, rng: np.random.Generator) -> None:
        model = make(name)
        layout, batch = model.layout((FEATURES,)), batch_of(model, rng)
        parameters = point_of(model, layout, rng)
        loss = model.loss_and_grad(parameters, batch, np.empty(layout.size))
        measured = model.measure(parameters, batch)
        assert measured.rows == measured.weight == 50
        assert measured.loss / 50 == pytest.approx(loss, rel=1e-6)

    def test_predictions_are_named_and_one_a_row(self, name: str, rng: np.random.Generator) -> None:
        model = make(name)
        layout, batch = model.layout((FEATURES,)), batch_of(model, rng)
        parameters = point_of(model, layout, rng)
        outputs = predictions_of(model, parameters, batch)
        assert len(outputs["prediction"]) == 50
        measured = model.measure(parameters, batch)
        if measured.correct == measured.correct:
            right = np.ravel(outputs["prediction"]) == batch.arrays["y"]
            assert measured.correct == right.sum()
        if "probability" in outputs:
            probability = outputs["probability"].reshape(50, -1)
            chosen = outputs["prediction"]
            if probability.shape[1] > 1:
                np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-5)
                assert np.array_equal(probability.argmax(axis=1), chosen)
            else:
                assert np.array_equal(probability[:, 0] > 0.5, chosen == 1)


def dataset_of(name: str, path: Path, rng: np.random.Generator) -> Dataset:
    arrays = arrays_of(make(name), rng, 503)
    return write_dataset(path / "a.zarr", 10, **arrays, weight=rng.random(503).astype(np.float32))


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("name", COMPILED)
def test_the_general_path_takes_the_steps_of_the_compiled_loop(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """To the bit where batches are full; a short one is cut into other shares, and rounds so."""
    model, dataset = make(name), dataset_of(name, tmp_path, rng)
    layout, ends = model.layout((FEATURES,)), []
    first = point_of(model, layout, rng)
    for make_engine in (WindowEngine, BatchEngine):
        names = declarations.arrays_of(model, dataset)
        loader = Loader(dataset, 64, memory="512MiB", window=5, seed=3, arrays=names)
        train_state = start([adam(0.1, l2=0.01, clip_norm=1.0)], first, model)
        engine = make_engine(model, loader, train_state)
        for window in loader.windows(1):
            while not engine.advance(window, 7 if engine.step < 7 else NEVER):
                if engine.step == 7:
                    full = train_state.parameters.copy(), engine.gradient.copy()
        assert (engine.step, engine.rows) == (8, 503)
        ends.append((full, train_state))
    ((parameters, gradient), one), ((others, other), two) = ends
    assert np.array_equal(parameters, others)
    # Of a touched part the loop keeps the rows of a batch alone.
    dense = layout.touched_place[0]
    np.testing.assert_allclose(gradient[:dense], other[:dense], rtol=1e-14)
    assert not np.array_equal(parameters, one.parameters)
    np.testing.assert_allclose(one.parameters, two.parameters, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one.totals[0, 0], two.totals[0, 0], rtol=1e-9)


@pytest.mark.parametrize("name", COMPILED)
def test_fixed_parts_and_those_of_its_kernel_fit(name: str) -> None:
    model = make(name)
    layout = model.layout((FEATURES,))
    kernel = kernel_of(model, layout)
    assert kernel is not None
    assert set(kernel.decay) <= set(layout.shapes)
    for batch in (1, 5, 64, 10000):
        assert kernel.share_rows(batch) % 4 == 0
        assert kernel.share_rows(batch) <= kernel.most_rows


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", MODELS)
def test_it_is_trained_saved_and_loaded(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    dataset, model = dataset_of(name, tmp_path, rng), make(name)
    trainer = ooc.Trainer(model, sgd(0.01), 64, memory="512MiB")
    run = trainer.fit(dataset, 2, tmp_path / "run")
    again = ooc.load(tmp_path / "run")
    assert np.array_equal(run.parameters, again.parameters)
    assert again.evaluate(dataset)["loss"] == run.evaluate(dataset)["loss"]
    assert run.evaluate(dataset)["loss"] < 1e3


@pytest.mark.parametrize("name", OF_FLOATS)
def test_a_bad_value_is_named_by_its_row(name: str, rng: np.random.Generator) -> None:
    model = make(name)
    layout, batch = model.layout((FEATURES,)), batch_of(model, rng)
    parameters, gradient = model.init(layout, rng), np.empty(layout.size)
    batch.arrays["X"][33, 2] = np.inf
    with pytest.raises(DataError, match="row 1033 of X has inf in feature 2"):
        model.loss_and_grad(parameters, batch, gradient)
    if not model.needs_target:
        return
    batch.arrays["X"][33, 2] = 0
    batch.arrays["y"][7] = np.nan
    with pytest.raises(DataError, match="row 1007 of y has target nan"):
        model.loss_and_grad(parameters, batch, gradient)
    with pytest.raises(DataError, match="row 1007 of y has target nan"):
        model.measure(parameters, batch)


@pytest.mark.parametrize("name", [name for name in MODELS if hasattr(MODELS[name](), "scale")])
def test_scale_multiplies_every_feature(name: str, rng: np.random.Generator) -> None:
    model, scaled = make(name), make(name, scale=0.25)
    layout = model.layout((FEATURES,))
    parameters = rng.standard_normal(layout.size).astype(np.float32)
    batch = batch_of(model, rng)
    larger = replace(batch, arrays={**batch.arrays, "X": 4 * batch.features})
    for output, values in predictions_of(model, parameters, batch).items():
        # A reconstruction is in units of the features.
        factor = 4 if name == "autoencoder" and output == "prediction" else 1
        found = predictions_of(scaled, parameters, larger)[output]
        assert np.array_equal(values * factor, found)


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


def test_softmax_of_two_classes_is_logistic(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((20, 3)).astype("f4"), rng.standard_normal(4).astype("f4")
    two = Softmax(classes=2).predict(np.concatenate([0 * w[:3], w[:3], [0], w[3:]]).astype("f4"), x)
    np.testing.assert_allclose(
        two["probability"][:, 1], Logistic().predict(w, x)["probability"], rtol=1e-5
    )


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
