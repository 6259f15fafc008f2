"""ONNX: standardisation, layers and answers as one graph, compared with the model before it goes.

Outputs have the names, shapes and types of what the model predicts; labels have their own names.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.numbers import check_choice
from ooc.core.sizes import format_size
from ooc.export.graph import Graph, install_onnx
from ooc.export.trained import Trained
from ooc.models import scored
from ooc.models.declarations import Standardisation, dtype_of
from ooc.models.ordinal import threshold_values
from ooc.models.standardise import standardisation, target_standardisation

INPUT, USUAL_INPUT = "X", "float32"
INPUTS = (
    "float16", "float32", "float64", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip
# What a file of that kind may have, with room for the graph itself.
MOST_BYTES = 2**31 - 2**24
# Rows on which the graph is compared with the model, and how far they may be apart, of the largest.
COMPARED_ROWS, TOLERANCE = 16, 1e-4


def as_onnx(trained: Trained) -> bytes:
    """Return the model as an ONNX file.

    Raises
    ------
    InputError
        If it is not made of dense layers, or the graph does not give what it predicts.
    """
    check_choice("input dtype", INPUTS, trained.input_dtype or USUAL_INPUT)
    dtype = np.dtype(trained.input_dtype or USUAL_INPUT)
    install_onnx()
    model: Any = trained.model
    link = getattr(model, "link", None)
    if getattr(model, "layers", None) is None or link not in ANSWERS:
        raise InputError(
            f"{model.name} does not declare the dense layers that it is made of; export it as "
            ".safetensors"
        )
    if trained.parameters.nbytes > MOST_BYTES:
        size, most = map(format_size, (trained.parameters.nbytes, MOST_BYTES))
        raise InputError(
            f"an ONNX file holds less than {most}, and the parameters have {size}; export them as "
            ".safetensors"
        )
    graph = Graph(dtype_of(model))
    rows = graph.rows(INPUT, dtype, trained.row_shape)
    standard = standardisation(trained.layout, trained.parameters, getattr(model, "scale", 1.0))
    inputs = _standardised(graph, rows, dtype, standard)
    scores = inputs
    for layer in model.layers(trained.layout, trained.parameters):
        scores = graph.layer(scores, layer)
    of_targets = target_standardisation(trained.layout, trained.parameters)
    if getattr(model, "has_standard_targets", False):
        wide = graph.cast(scores, np.float64)
        scores = graph.node("Add", graph.node("Div", wide, of_targets.factor), of_targets.shift)
    ANSWERS[link](graph, trained, scores, inputs, standard)
    written = graph.finish(trained.notes())
    _compare(trained, graph, written, dtype, standard)
    return written


def _standardised(graph: Graph, rows: str, dtype: np.dtype, standard: Standardisation) -> str:
    """Add what a gather does: wide rows are shifted in float64, others as parameters are."""
    is_wide = dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize == 4)
    rounded = standard.rounded(graph.dtype)
    if standard.shift.size:
        shift = standard.shift if is_wide else rounded.low
        rows = graph.node("Sub", graph.cast(rows, shift.dtype), shift)
    rows = graph.cast(rows, graph.dtype)
    return graph.node("Mul", rows, rounded.factor)


def _numbers(graph: Graph, trained: Trained, scores: str, *others: Any) -> None:
    graph.output("prediction", scores, is_flat=_outputs(trained) == 1)


def _exponentials(graph: Graph, trained: Trained, scores: str, *others: Any) -> None:
    _numbers(graph, trained, graph.node("Exp", scores))


def _logistic(graph: Graph, trained: Trained, scores: str, *others: Any) -> None:
    _label(graph, trained, graph.above_zero(scores))
    share = graph.node("Sigmoid", graph.cast(scores, np.float64))
    graph.output("probability", graph.cast(share, np.float32), is_flat=True)


def _softmax(graph: Graph, trained: Trained, scores: str, *others: Any) -> None:
    _label(graph, trained, graph.node("ArgMax", scores, axis=1, keepdims=0))
    shares = graph.node("Softmax", graph.cast(scores, np.float64), axis=1)
    graph.output("probability", graph.cast(shares, np.float32))


def _ordinal(graph: Graph, trained: Trained, scores: str, *others: Any) -> None:
    """Add sigmoid(threshold_k - f) sigmoid(f - threshold_{k-1}) sigmoid(r_k) of each label k."""
    part = trained.layout.views(trained.parameters)["thresholds"]
    values = threshold_values(part)
    gaps = 1.0 / (1.0 + np.exp(-part[1:].astype(np.float64)))
    wide, one = graph.cast(scores, np.float64), np.ones(1)
    # Nothing lies above the last label, or below the first.
    below = graph.node("Sigmoid", graph.node("Sub", values, wide))
    below = graph.node("Pad", below, np.array([0, 0, 0, 1]), np.array(1.0))
    above = graph.node("Sigmoid", graph.node("Sub", wide, values))
    above = graph.node("Pad", above, np.array([0, 1, 0, 0]), np.array(1.0))
    shares = graph.node("Mul", graph.node("Mul", below, above), np.concatenate([one, gaps, one]))
    _label(graph, trained, graph.node("ArgMax", shares, axis=1, keepdims=0))
    passed = graph.cast(graph.node("Greater", wide, values), np.int64)
    median = graph.node("ReduceSum", passed, np.array([1]), keepdims=0)
    _label(graph, trained, median, "median")
    graph.output("probability", graph.cast(shares, np.float32))


def _margin(graph: Graph, trained: Trained, scores: str, *others: Any) -> None:
    _label(graph, trained, graph.above_zero(scores))
    graph.output("margin", scores, is_flat=True)


def _reconstruction(
    graph: Graph, trained: Trained, scores: str, inputs: str, standard: Standardisation
) -> None:
    units = graph.node("Div", graph.cast(scores, np.float64), standard.factor)
    if standard.shift.size:
        units = graph.node("Add", units, standard.shift)
    graph.output("prediction", graph.cast(units, np.float32))
    apart = graph.cast(graph.node("Sub", scores, inputs), np.float64)
    squares = graph.node("ReduceSumSquare", apart, axes=[1], keepdims=0)
    half = graph.node("Mul", squares, np.array([0.5]))
    graph.output("error", graph.cast(half, np.float32))


def _label(graph: Graph, trained: Trained, codes: str, output: str = "prediction") -> None:
    """Add the names of labels, or their numbers."""
    graph.output(output, graph.node("Gather", trained.labels, codes))


def _outputs(trained: Trained) -> int:
    model: Any = trained.model
    return len(model.layers(trained.layout, trained.parameters)[-1].biases)


# What makes answers of scores, by the model's link.
ANSWERS: dict[str, Callable[..., None]] = {
    scored.IDENTITY: _numbers,
    scored.EXPONENTIAL: _exponentials,
    scored.LOGISTIC: _logistic,
    scored.SOFTMAX: _softmax,
    scored.ORDINAL: _ordinal,
    scored.MARGIN: _margin,
    scored.RECONSTRUCTION: _reconstruction,
}


def _compare(
    trained: Trained, graph: Graph, written: bytes, dtype: np.dtype, standard: Standardisation
) -> None:
    """Refuse a graph whose numbers are not the model's, as of one that scores in its own way."""
    drawn = np.random.default_rng(0).standard_normal((COMPARED_ROWS, *trained.row_shape))
    flat = drawn.reshape(COMPARED_ROWS, -1) / standard.factor
    flat = flat + standard.shift if standard.shift.size else flat
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    flat = flat if limits is None else flat.clip(limits.min / 2, limits.max / 2)
    rows = flat.astype(dtype).reshape(drawn.shape)
    expected = trained.model.predict(trained.parameters, rows)
    for name, values in graph.run(written, INPUT, rows).items():
        wanted = expected.get(name, np.empty(0))
        if trained.classes and name in ("prediction", "median"):
            continue  # a label changes at once where two scores are about the same
        size = float(np.abs(wanted).max(initial=0.0))
        if values.shape != wanted.shape or not np.allclose(
            values, wanted, rtol=TOLERANCE, atol=TOLERANCE * size
        ):
            raise InputError(
                f"{trained.model.name} cannot be exported as ONNX: its {name} is not what the "
                "dense layers that it declares give; export it as .safetensors"
            )
