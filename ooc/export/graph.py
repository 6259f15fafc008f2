"""A small builder of ONNX graphs: nodes by their operators, arrays as constants."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from ooc.core.errors import InputError
from ooc.kernels.activations import LEAK
from ooc.models.layers import DenseLayer
from ooc.version import VERSION

# Old enough for the runtimes of some years.
OPSET, FORMAT = 17, 8

Operand: TypeAlias = str | np.ndarray


def install_onnx() -> Any:
    """Return the package onnx; say how it is installed where it is not."""
    try:
        import onnx
        import onnx.reference
    except ImportError:
        raise InputError(
            "ONNX files need onnx, which is not installed; pip install 'ooc[export]' brings it"
        ) from None
    return onnx


class Graph:
    """Nodes in their order; each returns the name of its output.

    Attributes
    ----------
    dtype
        Of parameters and of what is computed with them.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype, self._onnx = dtype, install_onnx()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[str] = []

    def rows(self, name: str, dtype: np.dtype, row_shape: tuple[int, ...]) -> str:
        """Add the input, (rows, ...), and return it as (rows, F)."""
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(dtype)
        shape = ["rows", *row_shape]
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, kind, shape))
        if len(row_shape) == 0:
            return self.node("Unsqueeze", name, np.array([1]))
        return name if len(row_shape) == 1 else self.node("Flatten", name, axis=1)

    def node(self, operator: str, *operands: Operand, **attributes: Any) -> str:
        """Add a node; arrays among its operands become constants."""
        out = f"v{len(self._nodes)}"
        names = [each if isinstance(each, str) else self._constant(each) for each in operands]
        self._nodes.append(self._onnx.helper.make_node(operator, names, [out], **attributes))
        return out

    def cast(self, values: str, dtype: Any) -> str:
        """Add a change of type."""
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.node("Cast", values, to=kind)

    def layer(self, inputs: str, layer: DenseLayer) -> str:
        """Add a dense layer with its activation."""
        if layer.activation not in ACTIVATIONS:
            raise InputError(
                f"the activation {layer.activation} has no form in ONNX here; export the model as "
                ".safetensors"
            )
        sums = self.node("Gemm", inputs, layer.weights, layer.biases, transB=1)
        return ACTIVATIONS[layer.activation](self, sums)

    def number(self, value: float) -> np.ndarray:
        """Return a constant of the graph's own type."""
        return np.array(value, self.dtype)

    def above_zero(self, scores: str) -> str:
        """Add the label 0 or 1 of one score a row: (rows,) int64."""
        return self.cast(self._flat(self.node("Greater", scores, self.number(0.0))), np.int64)

    def output(self, name: str, values: str, is_flat: bool = False) -> None:
        """Name an output; a flat one, (rows,), has one value a row."""
        last = self._flat(values) if is_flat else values
        self._nodes.append(self._onnx.helper.make_node("Identity", [last], [name]))
        self._outputs.append(name)

    def finish(self, notes: Mapping[str, Any]) -> bytes:
        """Return the file's bytes, with notes in its metadata, each as JSON."""
        onnx = self._onnx
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in self._outputs]
        graph = onnx.helper.make_graph(self._nodes, "ooc", self._inputs, outputs, self._constants)
        model = onnx.helper.make_model(
            graph,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=FORMAT,
            producer_name="ooc",
            producer_version=VERSION,
        )
        onnx.helper.set_model_props(
            model, {name: json.dumps(value) for name, value in notes.items()}
        )
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model)
        written: bytes = model.SerializeToString()
        return written

    def run(self, written: bytes, name: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs for rows, by ONNX's own reference of what operators mean."""
        session = self._onnx.reference.ReferenceEvaluator(self._onnx.load_from_string(written))
        return dict(zip(self._outputs, session.run(None, {name: rows}), strict=True))

    def _flat(self, values: str) -> str:
        return self.node("Squeeze", values, np.array([1]))

    def _constant(self, values: np.ndarray) -> str:
        name = f"c{len(self._constants)}"
        plain = values.astype(object) if values.dtype.kind == "U" else values
        self._constants.append(
            self._onnx.numpy_helper.from_array(np.ascontiguousarray(plain), name)
        )
        return name


def _leaky_relu(graph: Graph, x: str) -> str:
    return graph.node("LeakyRelu", x, alpha=LEAK)


def _gelu(graph: Graph, x: str) -> str:
    """Add x P(Z < x); runtimes know the error function in float32 alone."""
    scaled = graph.cast(graph.node("Mul", x, graph.number(math.sqrt(0.5))), np.float32)
    above = graph.node("Add", graph.node("Erf", scaled), np.array(1.0, np.float32))
    below = graph.node("Mul", graph.cast(above, graph.dtype), graph.number(0.5))
    return graph.node("Mul", x, below)


def _softplus(graph: Graph, x: str) -> str:
    """Add max(x, 0) + log(1 + exp(-|x|)); runtimes know Softplus in float32 alone."""
    decay = graph.node("Exp", graph.node("Neg", graph.node("Abs", x)))
    rest = graph.node("Log", graph.node("Add", decay, graph.number(1.0)))
    return graph.node("Add", graph.node("Relu", x), rest)


# What the activations of `ooc.kernels.activations.ACTIVATIONS` are in ONNX.
ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda graph, x: x,
    "relu": lambda graph, x: graph.node("Relu", x),
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "softplus": _softplus,
    "tanh": lambda graph, x: graph.node("Tanh", x),
    "sigmoid": lambda graph, x: graph.node("Sigmoid", x),
}
