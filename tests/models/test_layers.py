"""What a model declares of itself is what it scores: layers, links, coefficients, its dtype."""

from typing import Any

import numpy as np
import pytest
from random_runs import rows_of, trained

from ooc.core.errors import InputError
from ooc.models import MLP, MODELS, Linear, Logistic, Softmax, from_config
from ooc.models.coefficients import linear_parts
from ooc.models.scored import EXPONENTIAL, IDENTITY, LOGISTIC, MARGIN, RECONSTRUCTION, SOFTMAX

LINKS = {
    "linear": IDENTITY,
    "logistic": LOGISTIC,
    "softmax": SOFTMAX,
    "svm": MARGIN,
    "mlp": LOGISTIC,
    "autoencoder": RECONSTRUCTION,
    "embedding_mlp": LOGISTIC,
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("mlp", "autoencoder") else [])
        for name in LINKS
        if MODELS[name].layers is not None
    ],
)
def test_layers_one_after_the_other_are_the_scores(name: str) -> None:
    hidden = {"activation": "tanh"} if name in ("mlp", "autoencoder") else {}
    model: Any = from_config({"name": name, "standardise": False, "dtype": "float64", **hidden})
    run = trained(model)
    values = rows = rows_of(run, np.float64)
    for layer in model.layers(run.layout, run.parameters):
        values = values @ layer.weights.T + layer.biases
        values = np.tanh(values) if layer.activation == "tanh" else values
    np.testing.assert_allclose(model.scores(run.parameters, rows), values, rtol=1e-9, atol=1e-12)
    assert {each: MODELS[each]().link for each in LINKS} == LINKS
    assert Linear(loss="poisson").link == EXPONENTIAL


@pytest.mark.parametrize("name", [name for name in MODELS if "dtype" in vars(MODELS[name]())])
def test_a_dtype_is_noted_where_it_is_not_the_usual(name: str) -> None:
    """So that runs that were saved before there was a choice go on."""
    usual, wide = MODELS[name](), MODELS[name](dtype="float64")
    assert "dtype" not in usual.to_config()
    assert from_config(wide.to_config()) == wide
    with pytest.raises(InputError, match="no dtype is called 'float16'; choose one of: float32, "):
        MODELS[name](dtype="float16")


def test_coefficients_of_the_data_give_the_scores() -> None:
    run = trained(Linear(standardise=True, standardise_target=True, dtype="float64"))
    rows = rows_of(run, np.float64)
    coefficients, intercepts = linear_parts(run.model, run.layout, run.parameters)
    np.testing.assert_allclose(rows @ coefficients[0] + intercepts[0], run.predict(rows), rtol=1e-9)
    bare = trained(Logistic(intercept=False, scale=0.5, standardise=False))
    coefficients, intercepts = linear_parts(bare.model, bare.layout, bare.parameters)
    np.testing.assert_array_equal(coefficients[0], 0.5 * bare.parameters)
    assert intercepts == 0
    network = trained(MLP((3,), standardise=True))
    with pytest.raises(InputError) as refused:
        linear_parts(network.model, network.layout, network.parameters)
    assert str(refused.value) == (
        "mlp has no coefficients of features alone: it is made of layer1.biases, layer1.weights, "
        "layer2.biases, layer2.weights"
    )


@pytest.mark.parametrize("intercept", [True, False])
def test_coefficients_of_several_classes_are_a_line_each(intercept: bool) -> None:
    model = Softmax(classes=3, standardise=True, intercept=intercept, dtype="float64")
    run = trained(model)
    rows = rows_of(run, np.float64)
    coefficients, intercepts = linear_parts(run.model, run.layout, run.parameters)
    assert (coefficients.shape, intercepts.shape) == ((3, 6), (3,))
    scores = model.scores(run.parameters, rows)
    np.testing.assert_allclose(rows @ coefficients.T + intercepts, scores, rtol=1e-7)
