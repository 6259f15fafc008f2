"""Dense networks: layers and losses are data, and another network compiles nothing."""

import numpy as np

from ooc.core.compiler import lean_kernel, lean_sums, view_at
from ooc.kernels import dense, thresholds
from ooc.kernels.counters import NOT_FINITE, OK
from ooc.kernels.dropout import drop
from ooc.kernels.share import BAD, Numbers, Output, PointLoss, Share, call_loss

# Entries of the model's integers: address of the loss over rows and of its pointwise pair, its
# rule for targets, whether the inputs are the targets, the number of thresholds of ordered labels
# (0 of all others), whether further layers take the last one's outputs, and L, the number of
# layers; from LAYERS on L + 1 widths, then L codes of activations. Its reals are the loss's
# constant, then L shares that dropout takes, then the weights of classes.
LOSS, PAIR, RULE, RECONSTRUCTS, THRESHOLDS, GOES_ON, COUNT, LAYERS = range(8)
LARGEST_SQUARE = np.finfo(np.float32).max


@lean_kernel
def forward(
    numbers: Numbers,
    parameters: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    slopes: np.ndarray,
    first: int,
    seed: int,
    training: bool,
) -> None:
    """Run rows, of which the first has place `first` in its batch, through all layers.

    Parameters
    ----------
    inputs
        (rows, F).
    outputs, slopes
        Of all layers one after the other, each (rows, units), flat.
    seed, training
        Of the dropout masks, and whether there are any.
    """
    layers, rows, weight, place = numbers.integers[COUNT], inputs.shape[0], 0, 0
    widths = numbers.integers[LAYERS : LAYERS + layers + 1]
    activations = numbers.integers[LAYERS + layers + 1 :]
    below = inputs
    for layer in range(layers):
        fan, units = widths[layer], widths[layer + 1]
        above = view_at(outputs, place, (rows, units))
        # The last layer of all, which has no activation, has no slopes.
        kept = 0 if layer == layers - 1 and numbers.integers[GOES_ON] == 0 else rows
        slope = view_at(slopes, place, (kept, units))
        bias = weight + fan * units
        weights = view_at(parameters, weight, (units, fan))
        biases = view_at(parameters, bias, (units,))
        dense.forward(below, weights, biases, activations[layer], above, slope)
        dropped = numbers.reals[1 + layer]
        if training and dropped > 0:
            drop(seed, layer, first, dropped, above, slope)
        below, weight, place = above, bias + units, place + rows * units


@lean_kernel
def backward(
    numbers: Numbers,
    parameters: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    slopes: np.ndarray,
    gradient: np.ndarray,
) -> None:
    """Fill the gradient; the last layer's outputs hold the loss's derivatives.

    A layer's outputs are overwritten by the derivatives by them as soon as the layer above has its
    gradient.
    """
    layers, rows = numbers.integers[COUNT], inputs.shape[0]
    widths = numbers.integers[LAYERS : LAYERS + layers + 1]
    end, place = np.int64(0), np.int64(0)
    for layer in range(layers):
        end += (widths[layer] + 1) * widths[layer + 1]
        place += rows * widths[layer + 1]
    for layer in range(layers - 1, -1, -1):
        fan, units = widths[layer], widths[layer + 1]
        place -= rows * units
        delta = view_at(outputs, place, (rows, units))
        # The last layer of all, which has no activation, has no slopes.
        kept = 0 if layer == layers - 1 and numbers.integers[GOES_ON] == 0 else rows
        slope = view_at(slopes, place, (kept, units))
        bias = end - units
        start = bias - fan * units
        below = inputs
        if layer > 0:
            below = view_at(outputs, place - rows * fan, (rows, fan))
        weights_gradient = view_at(gradient, start, (units, fan))
        biases_gradient = view_at(gradient, bias, (units,))
        dense.backward(below, slope, delta, weights_gradient, biases_gradient)
        if layer > 0:
            dense.backward_inputs(delta, view_at(parameters, start, (units, fan)), below)
        end = start


@lean_sums
def first_overflow(rows: np.ndarray) -> int:
    """Return the first row whose sum of squares is not finite in float32, or -1.

    An activation may hide what is not finite: a ReLU cuts off minus infinity. And where squares
    of features overflow, so do gradients.
    """
    for r in range(rows.shape[0]):
        total = rows.dtype.type(0.0)
        for j in range(rows.shape[1]):
            total += rows[r, j] * rows[r, j]
        # Reordered sums would take math.isfinite, x - x == 0, for true.
        if not total <= LARGEST_SQUARE:
            return r
    return -1


@lean_kernel
def apply_loss(
    numbers: Numbers,
    targets: np.ndarray,
    weights: np.ndarray,
    answers: np.ndarray,
    parameters: np.ndarray,
    own: np.ndarray,
    gradient: np.ndarray,
    output: Output,
) -> int:
    """Replace the last layer's outputs, (rows, units), by the loss's derivatives by them.

    Parameters
    ----------
    parameters, gradient
        Those of the thresholds, which are behind all layers, and what is filled for them; empty
        where there are none.
    own
        Scratch for the scores of ordered labels, (rows, 2 thresholds - 1), flat.
    output
        Its terms and its report are set.
    """
    integers, layers = numbers.integers, numbers.integers[COUNT]
    loss = PointLoss(integers[PAIR], integers[RULE], numbers.reals[0], numbers.reals[1 + layers :])
    if integers[THRESHOLDS] == 0:
        return call_loss(
            integers[LOSS], (answers, targets, weights, loss, output.terms, output.report)
        )
    scores = view_at(own, 0, (answers.shape[0], 2 * integers[THRESHOLDS] - 1))
    thresholds.cumulate(answers, parameters, scores)
    status = call_loss(
        integers[LOSS], (scores, targets, weights, loss, output.terms, output.report)
    )
    if status == OK:
        thresholds.collect(scores, parameters, answers, gradient)
    return status


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share; see `ooc.kernels.share.accumulate_of`.

    `own` holds twice the units of all layers for each row, and the scores of ordered labels.
    """
    integers, inputs = numbers.integers, share.features
    layers, rows = integers[COUNT], inputs.shape[0]
    bad = first_overflow(inputs)
    if bad >= 0:
        output.report[BAD] = bad
        return NOT_FINITE
    units, size, end = integers[LAYERS + layers], np.int64(0), np.int64(0)
    for layer in range(layers):
        size += rows * integers[LAYERS + 1 + layer]
        end += (integers[LAYERS + layer] + 1) * integers[LAYERS + 1 + layer]
    outputs, slopes = view_at(own, 0, (size,)), view_at(own, size, (size,))
    forward(numbers, parameters, inputs, outputs, slopes, share.first, share.seed, True)
    answers = view_at(outputs, size - rows * units, (rows, units))
    targets = inputs if integers[RECONSTRUCTS] != 0 else share.targets
    behind = end + integers[THRESHOLDS]
    status = apply_loss(
        numbers,
        targets,
        share.weights,
        answers,
        parameters[end:behind],
        own[2 * size :],
        output.gradient[end:behind],
        output,
    )
    if status == OK:
        backward(numbers, parameters, inputs, outputs, slopes, output.gradient)
    return status
