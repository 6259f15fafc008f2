"""Graphs: operators mean what they say, by ONNX's own reference, against closed forms."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from activation_twins import TWINS
from numpy.testing import assert_allclose, assert_array_equal
from random_runs import trained

from ooc.core.errors import InputError
from ooc.export import Trained
from ooc.export.coefficients import as_csv, as_json
from ooc.export.graph import ACTIVATIONS, Graph
from ooc.export.onnx_file import MOST_BYTES, as_onnx
from ooc.models import MLP, Linear, Logistic, Softmax, from_config
from ooc.models.layers import DenseLayer
from ooc.version import VERSION


def computed(
    rows: np.ndarray, build: Callable[[Graph, str], str], dtype: Any = np.float32, **output: Any
) -> np.ndarray:
    graph = Graph(np.dtype(dtype))
    values = build(graph, graph.rows("X", rows.dtype, rows.shape[1:]))
    graph.output("out", values, **output)
    return graph.run(graph.finish({}), "X", rows)["out"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_closed_form(name: str, dtype: str) -> None:
    rows = np.array([[-30.0, -2.5, -0.5, 0.0], [0.25, 1.0, 3.0, 30.0]], dtype)
    found = computed(rows, lambda graph, x: ACTIVATIONS[name](graph, x), dtype)
    assert found.dtype == dtype
    # The error function is known in float32 alone.
    exact = dtype == "float64" and name != "gelu"
    assert_allclose(
        found, TWINS[name](rows.astype(float)), rtol=1e-12 if exact else 2e-6, atol=2e-6
    )


def test_a_layer_is_products_and_biases_with_its_activation(rng: np.random.Generator) -> None:
    weights, biases = rng.standard_normal((3, 4)), rng.standard_normal(3)
    x = rng.standard_normal((5, 4))
    layer = DenseLayer(weights, biases, "relu")
    found = computed(x, lambda graph, rows: graph.layer(rows, layer), np.float64)
    assert_allclose(found, np.maximum(x @ weights.T + biases, 0), rtol=1e-12)
    with pytest.raises(InputError) as caught:
        computed(x, lambda graph, rows: graph.layer(rows, DenseLayer(weights, biases, "odd")))
    assert str(caught.value) == (
        "the activation odd has no form in ONNX here; export the model as .safetensors"
    )


def test_rows_of_any_shape_are_flat_and_labels_are_whole() -> None:
    for shape in ((3,), (3, 4), (3, 2, 2)):
        rows = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        assert_array_equal(computed(rows, lambda graph, x: x), rows.reshape(3, -1))
    scores = np.array([[-1.0], [0.0], [2.0]], np.float32)
    labels = computed(scores, lambda graph, x: graph.above_zero(x))
    assert labels.dtype == np.int64 and labels.tolist() == [0, 0, 1]
    assert computed(scores, lambda graph, x: x, is_flat=True).tolist() == [-1, 0, 2]


def test_a_file_notes_what_it_is() -> None:
    graph = Graph(np.dtype(np.float32))
    graph.output("out", graph.rows("X", np.dtype(np.uint8), (2, 3)))
    model = onnx.load_from_string(graph.finish({"a": [1], "b": "c"}))
    assert {each.key: json.loads(each.value) for each in model.metadata_props} == {
        "a": [1], "b": "c",
    }  # fmt: skip
    assert (model.producer_name, model.producer_version) == ("ooc", VERSION)
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)
    (given,) = model.graph.input
    shape = [each.dim_param or each.dim_value for each in given.type.tensor_type.shape.dim]
    assert shape == ["rows", 2, 3]
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def named(model: Any, **names: Any) -> Trained:
    run = trained(model)
    return Trained(run.model, run.layout, run.parameters, run.row_shape, **names)


def test_what_is_noted_of_a_model() -> None:
    told = named(Softmax(classes=3), class_names=[7, 3, 5], feature_names=list("abcdef")).notes()
    assert told == {
        "ooc": VERSION, "model": Softmax(classes=3).to_config(), "row_shape": [6],
        "features": list("abcdef"), "classes": [7, 3, 5],
    }  # fmt: skip
    assert named(Logistic()).notes()["classes"] == [0, 1]
    assert named(Linear()).notes()["classes"] == [] and named(Linear()).classes == 0
    assert named(Logistic(), class_names=[True, False]).labels.dtype == bool
    assert named(Logistic(), class_names=["no", 1]).labels.tolist() == ["no", "1"]
    assert named(from_config({"name": "svm"})).labels.tolist() == [0, 1]
    assert named(MLP((3,), head="multiclass", outputs=4)).classes == 4
    assert named(Linear()).features == ["x0", "x1", "x2", "x3", "x4", "x5"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"feature_names": list("abc")}, "logistic has 6 of what feature names are for, but there "
         "are 3 names; give one for each, or none"),
        ({"class_names": ["a"]}, "logistic has 2 of what class names are for, but there are 1 "
         "names; give one for each, or none"),
        ({"class_names": [1, "1"]}, "class names are to differ, but one of them is there twice"),
    ],
)  # fmt: skip
def test_names_that_do_not_fit_are_refused(names: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        named(Logistic(), **names)
    assert str(caught.value) == message


def test_coefficients_tell_whose_they_are() -> None:
    told = json.loads(as_json(named(Logistic(standardise=False), class_names=["no", "yes"])))
    assert (told["link"], told["classes"]) == ("logistic", ["no", "yes"])
    assert told["model"] == Logistic(standardise=False).to_config()
    lines = as_csv(named(Logistic(standardise=False))).decode().splitlines()
    assert lines[0] == "feature,coefficient"
    two = as_csv(named(Softmax(classes=2, standardise=False))).decode().splitlines()
    assert two[0] == "feature,0,1" and two[1].startswith("(intercept),")
    values = [[float(value) for value in line.split(",")[1:]] for line in lines[1:]]
    assert values == [told["intercept"], *told["coefficients"].values()]


def test_a_file_may_have_nearly_what_its_format_holds() -> None:
    """Two GiB, of which the graph itself takes a few MiB at most."""
    assert 2**31 - 2**25 < MOST_BYTES < 2**31


def test_a_model_without_layers_is_refused_before_anything_is_made() -> None:
    class Strange(Logistic):
        name, link = "strange", "of its own"

    with pytest.raises(InputError) as caught:
        as_onnx(named(Strange(standardise=False)))
    assert str(caught.value) == (
        "strange does not declare the dense layers that it is made of; export it as .safetensors"
    )


def test_suffixes_are_known_in_capitals_and_dtypes_by_onnx_alone(tmp_path: Any) -> None:
    run = trained(Logistic(standardise=False))
    assert (
        run.export(tmp_path / "a.CSV").read_bytes() == run.export(tmp_path / "a.csv").read_bytes()
    )
    with pytest.raises(InputError) as caught:
        run.export(tmp_path / "b.json", input_dtype="float32")
    assert str(caught.value) == ".json says nothing of rows' dtype; leave it out, or choose .onnx"
