"""The linear family on sparse rows: scores of standardised models, and what cannot be trained."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from random_runs import trained
from sparse_rows import random_matrix

from ooc.core.errors import InputError
from ooc.models import MLP, Linear, Logistic, Softmax
from ooc.models.declarations import Kernel, kernel_of, predictions_of
from ooc.models.layers import DenseLayer
from ooc.store.sparse_rows import rows_of
from ooc.stream.batch import Batch

ROWS: Any = type("Rows", (), {"is_sparse": True, "dtype": np.dtype("f4")})
MATRIX = random_matrix(40, 6, density=0.4)


@pytest.mark.parametrize(
    "model",
    [
        Linear(standardise=True, standardise_target=True),
        Linear(scale=0.5, standardise=False, intercept=False),
        Softmax(classes=3, standardise=True),
        Logistic(standardise=False, dtype="float64"),
    ],
    ids=lambda model: f"{model.name} {model.standardise} {model.dtype}",
)
def test_scores_of_sparse_rows_are_those_of_dense_ones(model: Any) -> None:
    """Of a model that was trained on dense rows, whose means are subtracted, too."""
    run = trained(model)
    dense = MATRIX.toarray()
    found = model.scores(run.parameters, MATRIX)
    assert found.dtype == model.dtype
    np.testing.assert_allclose(found, model.scores(run.parameters, dense), rtol=1e-4, atol=1e-2)
    one, other = (model.predict(run.parameters, rows) for rows in (MATRIX, dense))
    np.testing.assert_allclose(one["prediction"], other["prediction"], rtol=1e-4, atol=1e-2)


def test_a_kernel_of_sparse_rows_is_the_dense_one_with_their_width_and_values() -> None:
    model = Softmax(classes=3, scale=0.5, standardise=False, class_weights=(1, 2, 3))
    layout = model.layout((6,))
    dense, sparse = kernel_of(model, layout), kernel_of(model, layout, rows=ROWS)
    assert dense is not None and sparse is not None
    assert sparse.integers.tolist() == [*dense.integers, 6, 4]
    assert dense.reals.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert sparse.reals.tolist() == [0.0, 0.5, 1.0, 2.0, 3.0]
    assert (sparse.most_rows, sparse.own_values) == (128, 3)
    assert dense.integers[3:].tolist() == [3, 1]
    bare = kernel_of(replace(model, intercept=False), layout)
    assert bare is not None and bare.integers[3:].tolist() == [3, 0]


@dataclass(frozen=True)
class Changed(Logistic):
    """A model with a kernel of its own, which knows nothing of sparse rows."""

    def kernel(self, layout: Any, parameters: np.ndarray) -> Kernel:
        return replace(super().kernel(layout, parameters), accumulate=print)


TAKEN = "takes no sparse rows, as linear, logistic, softmax and svm do; choose one of those, or "


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Changed(), f"logistic {TAKEN}write the rows as a dense array (ooc.create)"),
        (MLP((3,)), f"mlp {TAKEN}write the rows as a dense array (ooc.create)"),
        (
            Logistic(standardise=True),
            "logistic with standardise=True subtracts each feature's mean, which leaves no row "
            "sparse; leave standardise out, or write values that are scaled already",
        ),
    ],
    ids=["own kernel", "network", "standardised"],
)
def test_what_takes_no_sparse_rows_says_so(model: Any, message: str) -> None:
    with pytest.raises(InputError) as refused:
        kernel_of(model, model.layout((6,)), rows=ROWS)
    assert str(refused.value) == message


def test_a_linear_model_is_one_layer() -> None:
    model = Softmax(classes=2, standardise=False)
    parameters = np.arange(8, dtype=np.float32)
    (layer,) = model.layers(model.layout((3,)), parameters)
    assert isinstance(layer, DenseLayer)
    assert layer.weights.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (layer.biases.tolist(), layer.activation) == ([6, 7], "identity")
    bare = replace(model, intercept=False)
    (layer,) = bare.layers(bare.layout((3,)), parameters[:6])
    assert layer.biases.tolist() == [0, 0]
    assert model.layout((3,)).unpenalised == {"intercept"}
    assert list(bare.layout((3,)).shapes) == ["coefficients"]
    assert model.layout((2, 3)).shapes == {"coefficients": (2, 6), "intercept": (2,)}


@pytest.mark.parametrize("standardise", [False, True])
def test_no_rows_have_no_scores(standardise: bool) -> None:
    model = Softmax(classes=3, standardise=standardise)
    parameters = model.init(model.layout((6,)), np.random.default_rng(0))
    for rows in (np.empty((0, 6), np.float32), MATRIX[:0]):
        assert model.scores(parameters, rows).shape == (0, 3)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_predictions_of_ones_own_are_those_of_a_batch(is_sparse: bool) -> None:
    class Doubled(Linear):
        def predict(self, parameters: np.ndarray, features: Any) -> dict[str, np.ndarray]:
            return {"twice": 2 * super().predict(parameters, features)["prediction"]}

    rows = rows_of(MATRIX) if is_sparse else MATRIX.toarray()
    batch = Batch({"X": rows}, np.arange(40), 0, 0, ("X", None, None))
    model, parameters = Doubled(standardise=False), np.arange(7, dtype=np.float32)
    expected = 2 * (MATRIX.toarray() @ parameters[:6] + parameters[6])
    found = predictions_of(model, parameters, batch)
    np.testing.assert_allclose(found["twice"], expected, rtol=1e-5)
