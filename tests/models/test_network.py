"""Networks: layers as they are declared, shares by their work, and reconstructions."""

import itertools
from typing import Any

import numpy as np
import pytest
from activation_twins import TWINS
from random_runs import rows_of, trained

from ooc.core.random_keys import Purpose, generator
from ooc.models import MLP, Autoencoder
from ooc.models.declarations import kernel_of


@pytest.mark.parametrize(
    "model", [MLP((5, 4), "tanh"), Autoencoder((4,), "tanh", code=2)], ids=["mlp", "autoencoder"]
)
def test_layers_are_the_scores_of_any_number_of_rows(model: Any) -> None:
    """Of more rows than are worked on at once; the last layer has no activation."""
    run = trained(model)
    rows = rows_of(run, count=300)
    layers = model.layers(run.layout, run.parameters)
    assert [layer.activation for layer in layers[:-1]] == ["tanh"] * (len(layers) - 1)
    assert layers[-1].activation == "identity"
    values = model.inputs(run.parameters, rows).astype(np.float64)
    for layer in layers:
        values = TWINS[layer.activation](values @ layer.weights.T.astype(float) + layer.biases)
    np.testing.assert_allclose(model.scores(run.parameters, rows), values, rtol=1e-4, atol=1e-4)
    assert layers[0].weights.base is not None, "a view of the parameters"


@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_a_reconstruction_is_in_units_of_the_features(factor: float) -> None:
    """Its error is half the squared distance of rows as the network sees them."""
    model = Autoencoder((4,), "tanh", code=2, scale=factor, standardise=False)
    run = trained(model)
    rows = rows_of(run)
    found = model.predict(run.parameters, rows)
    scores = model.scores(run.parameters, rows)
    np.testing.assert_allclose(found["prediction"], scores / factor, rtol=1e-6)
    error = 0.5 * np.sum((scores - factor * rows) ** 2, axis=1)
    np.testing.assert_allclose(found["error"], error, rtol=1e-5)
    far: Any = Autoencoder((4,), "tanh", code=2, standardise=True)
    other = trained(far)
    part = other.layout.views(other.parameters)
    found = far.predict(other.parameters, rows_of(other))
    scores = far.scores(other.parameters, rows_of(other))
    mean = part["feature_mean"].astype(float) + part["feature_mean_rest"]
    np.testing.assert_allclose(
        found["prediction"], scores * part["feature_deviation"] + mean, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("hidden", "features", "least"),
    [
        ((64, 64), 10, 811),  # 4e6 / (11 * 64 + 65 * 64 + 65)
        ((256, 128), 784, 128),
        ((8,), 4, 1024),
        ((1024,), 30, 128),
    ],
)
def test_a_share_is_worth_a_threads_while(
    hidden: tuple[int, ...], features: int, least: int
) -> None:
    """Four million multiplications, biases counted; never fewer than 128 rows or more than 1024."""
    model = MLP(hidden, weight_decay=0.5)
    kernel = kernel_of(model, model.layout((features,)))
    assert kernel is not None
    widths = [features, *hidden, 1]
    work = sum((fan + 1) * units for fan, units in itertools.pairwise(widths))
    assert least == min(max(128, 4_000_000 // work), 1024)
    assert (kernel.least_rows, kernel.most_rows, kernel.shares) == (least, 1024, 4)
    assert kernel.own_values == 2 * sum(widths[1:])
    names = [f"layer{number}.weights" for number in range(1, len(hidden) + 2)]
    assert kernel.decay == dict.fromkeys(names, 0.5)
    assert kernel.uses_blas and kernel.eager


def test_a_last_layer_begins_as_glorot_has_it_within_its_bounds() -> None:
    """Uniform: no weight beyond the bound, and some near it; he's are normal."""
    model = MLP((400,), "relu")
    layout = model.layout((300,))
    views = layout.views(model.init(layout, generator(3, Purpose.PARAMETERS)))
    last, first = np.abs(views["layer2.weights"]).max(), np.abs(views["layer1.weights"]).max()
    bound = np.sqrt(6 / 401)
    assert 0.9 * bound < last <= bound
    assert first > 3.5 * np.sqrt(2 / 300)
    assert not views["layer2.biases"].any()


def test_layers_after_a_code_come_in_reverse() -> None:
    model = Autoencoder((8, 4), code=2)
    assert model.units(10) == (8, 4, 2, 4, 8, 10)
    layout = model.layout((2, 5))
    shapes = [layout.shapes[f"layer{number}.weights"] for number in range(1, 7)]
    assert shapes == [(8, 10), (4, 8), (2, 4), (4, 2), (8, 4), (10, 8)]
    assert MLP((8, 4), head="multiclass", outputs=3).units(10) == (8, 4, 3)
