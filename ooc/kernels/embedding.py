"""A bag of embeddings beside figures: two branches, joined, and dense layers behind them.

The one branch is the mean of the embeddings of a row's tokens, the other one dense layers over its
figures, of which some may be missing. Gradients of the table are for rows that a share touched.
"""

import math

import numpy as np

from ooc.core.compiler import lean_kernel, view_at
from ooc.core.hashing import mix
from ooc.kernels import dense, network
from ooc.kernels.counters import BAD_INTEGER, NOT_FINITE, OK
from ooc.kernels.network import COUNT, LAYERS, THRESHOLDS
from ooc.kernels.share import BAD, TOUCHED, Numbers, Output, Share

# Entries of the model's integers: rows of the table and their width, 0 where tokens are left out;
# the token that is left out of means; figures of a row, 0 where they are left out; and how many
# integers and reals are those of the layers over figures, as `ooc.kernels.network` has them. These
# begin at BEHIND, and those of the layers behind the join follow; so do the reals, from 0 on.
ROWS, WIDTH, PADDING, FIGURES, OWN_INTEGERS, OWN_REALS, BEHIND = range(7)
# The masks of dropout are those of another seed in the layers over figures.
_OTHER_SEED = 0x2545F491


@lean_kernel
def figure_layers(numbers: Numbers) -> Numbers:
    """Return the numbers of the layers over figures."""
    stop = BEHIND + numbers.integers[OWN_INTEGERS]
    return Numbers(numbers.reals[: numbers.integers[OWN_REALS]], numbers.integers[BEHIND:stop])


@lean_kernel
def joined_layers(numbers: Numbers) -> Numbers:
    """Return the numbers of the layers behind the join."""
    first = BEHIND + numbers.integers[OWN_INTEGERS]
    return Numbers(numbers.reals[numbers.integers[OWN_REALS] :], numbers.integers[first:])


@lean_kernel
def sizes_of(numbers: Numbers) -> tuple[np.int64, np.int64]:
    """Return how many parameters layers have, and units in all."""
    layers, parameters, units = numbers.integers[COUNT], np.int64(0), np.int64(0)
    for layer in range(layers):
        fan, own = numbers.integers[LAYERS + layer], numbers.integers[LAYERS + 1 + layer]
        parameters += (fan + 1) * own
        units += own
    return parameters, units


@lean_kernel
def fill_figures(figures: np.ndarray, filled: np.ndarray) -> None:
    """Fill (rows, 2 F) with figures, 0 where one is NaN, and with 1 for each that is, else 0."""
    rows, count = figures.shape
    for r in range(rows):
        for j in range(count):
            value = figures[r, j]
            is_missing = math.isnan(value)
            filled[r, j] = 0.0 if is_missing else value
            filled[r, count + j] = 1.0 if is_missing else 0.0


@lean_kernel
def fill_means(tokens: np.ndarray, table: np.ndarray, padding: int, joined: np.ndarray) -> int:
    """Fill the first columns of (rows, ...) with means of embeddings, 0 where there is no token.

    Returns the first row with a token that is none of the table, or -1.
    """
    width = table.shape[1]
    for r in range(tokens.shape[0]):
        count = 0
        for j in range(width):
            joined[r, j] = 0.0
        for k in range(tokens.shape[1]):
            token = tokens[r, k]
            if token == padding:
                continue
            if token < 0 or token >= table.shape[0]:
                return r
            count += 1
            for j in range(width):
                joined[r, j] += table[token, j]
        if count > 1:
            for j in range(width):
                joined[r, j] /= count
    return -1


@lean_kernel
def collect_touched(
    tokens: np.ndarray,
    padding: int,
    by_joined: np.ndarray,
    places: np.ndarray,
    gradient: np.ndarray,
    output: Output,
) -> None:
    """Fill the gradients of the embeddings that a share touched, each once, and tell their rows.

    Parameters
    ----------
    by_joined
        (rows, ...): derivatives by the joined branches, those of the means first.
    places
        Scratch: a hash table of places among the touched rows plus 1, of 2^n entries, more than
        twice as many as tokens. Its numbers are exact: a share has fewer than 2^24 tokens.
    gradient
        (capacity, width).
    """
    width, touched, count = gradient.shape[1], output.touched, 0
    mask = np.uint64(places.size - 1)
    for i in range(places.size):
        places[i] = 0.0
    for r in range(tokens.shape[0]):
        there = 0
        for k in range(tokens.shape[1]):
            there += 1 if tokens[r, k] != padding else 0
        for k in range(tokens.shape[1]):
            token = tokens[r, k]
            if token == padding:
                continue
            at = np.int64(mix(np.uint64(token)) & mask)
            while places[at] != 0.0 and touched[np.int64(places[at]) - 1] != token:
                at = np.int64(np.uint64(at + 1) & mask)
            if places[at] == 0.0:
                touched[count] = token
                for j in range(width):
                    gradient[count, j] = 0.0
                count += 1
                places[at] = count
            slot = np.int64(places[at]) - 1
            for j in range(width):
                gradient[slot, j] += by_joined[r, j] / there
    output.report[TOUCHED] = count


@lean_kernel
def fill_joined(
    numbers: Numbers,
    parameters: np.ndarray,
    figures: np.ndarray,
    tokens: np.ndarray,
    first: int,
    seed: int,
    training: bool,
    own: np.ndarray,
    report: np.ndarray,
) -> int:
    """Run both branches of rows, of which the first has place `first` in its batch.

    In training rows are refused whose figures are not finite, other than NaN.

    `own` holds, one after the other and each for all rows: filled figures (2 F), outputs and slopes
    of the layers over them, and the joined branches.
    """
    integers, rows = numbers.integers, figures.shape[0]
    width, count = integers[WIDTH], integers[FIGURES]
    over = figure_layers(numbers)
    _, units = sizes_of(over)
    behind = joined_layers(numbers)
    filled = view_at(own, 0, (rows, 2 * count))
    joined = view_at(own, rows * (2 * count + 2 * units), (rows, behind.integers[LAYERS]))
    if count > 0:
        fill_figures(figures, filled)
        bad = network.first_overflow(filled) if training else -1
        if bad >= 0:
            report[BAD] = bad
            return NOT_FINITE
        outputs = view_at(own, rows * 2 * count, (rows * units,))
        slopes = view_at(own, rows * (2 * count + units), (rows * units,))
        last, layers = filled, over.integers[COUNT]
        if layers > 0:
            network.forward(
                over, parameters, filled, outputs, slopes, first, seed ^ _OTHER_SEED, training
            )
            top = over.integers[LAYERS + layers]
            last = view_at(outputs, rows * (units - top), (rows, top))
        for r in range(rows):
            for j in range(last.shape[1]):
                joined[r, width + j] = last[r, j]
    if width > 0:
        table = view_at(
            parameters, parameters.size - integers[ROWS] * width, (integers[ROWS], width)
        )
        bad = fill_means(tokens, table, integers[PADDING], joined)
        if bad >= 0:
            report[BAD] = bad
            return BAD_INTEGER
    return OK


@lean_kernel
def score(
    numbers: Numbers,
    parameters: np.ndarray,
    figures: np.ndarray,
    tokens: np.ndarray,
    own: np.ndarray,
    scores: np.ndarray,
    report: np.ndarray,
) -> int:
    """Fill the last layer's outputs of rows, (rows, units), without dropout."""
    rows, count = figures.shape[0], numbers.integers[FIGURES]
    size, units = sizes_of(figure_layers(numbers))
    behind = joined_layers(numbers)
    status = fill_joined(numbers, parameters, figures, tokens, 0, 0, False, own, report)
    if status != OK:
        return status
    joined = view_at(own, rows * (2 * count + 2 * units), (rows, behind.integers[LAYERS]))
    place = rows * (2 * count + 2 * units + behind.integers[LAYERS])
    all_units = sizes_of(behind)[1]
    outputs = view_at(own, place, (rows * all_units,))
    slopes = view_at(own, place + rows * all_units, (rows * all_units,))
    network.forward(behind, parameters[size:], joined, outputs, slopes, 0, 0, False)
    last = view_at(outputs, rows * (all_units - scores.shape[1]), scores.shape)
    for r in range(rows):
        for j in range(scores.shape[1]):
            scores[r, j] = last[r, j]
    return OK


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share; see `ooc.kernels.share.accumulate_of`.

    `own` holds what `fill_joined` says, outputs and slopes of the layers behind the join, the
    scores of ordered labels, and the places of touched rows.
    """
    integers, rows = numbers.integers, share.features.shape[0]
    width, count = integers[WIDTH], integers[FIGURES]
    over, behind = figure_layers(numbers), joined_layers(numbers)
    (size, units), (top_size, top_units) = sizes_of(over), sizes_of(behind)
    across, layers = behind.integers[LAYERS], behind.integers[COUNT]
    output.report[TOUCHED] = 0
    status = fill_joined(
        numbers, parameters, share.features, share.integers, share.first, share.seed, True, own,
        output.report,
    )  # fmt: skip
    if status != OK:
        return status
    joined = view_at(own, rows * (2 * count + 2 * units), (rows, across))
    place = rows * (2 * count + 2 * units + across)
    outputs = view_at(own, place, (rows * top_units,))
    slopes = view_at(own, place + rows * top_units, (rows * top_units,))
    place += 2 * rows * top_units
    network.forward(
        behind, parameters[size:], joined, outputs, slopes, share.first, share.seed, True
    )
    last, end = behind.integers[LAYERS + layers], size + top_size
    answers = view_at(outputs, rows * (top_units - last), (rows, last))
    stop, thresholds = end + behind.integers[THRESHOLDS], behind.integers[THRESHOLDS]
    status = network.apply_loss(
        behind, share.targets, share.weights, answers, parameters[end:stop], own[place:],
        output.gradient[end:stop], output,
    )  # fmt: skip
    if status != OK:
        return status
    place += rows * max(0, 2 * thresholds - 1)
    network.backward(behind, parameters[size:], joined, outputs, slopes, output.gradient[size:])
    lowest = behind.integers[LAYERS + 1]
    dense.backward_inputs(
        view_at(outputs, 0, (rows, lowest)), view_at(parameters, size, (lowest, across)), joined
    )
    if over.integers[COUNT] > 0 and count > 0:
        top = over.integers[LAYERS + over.integers[COUNT]]
        outputs = view_at(own, rows * 2 * count, (rows * units,))
        slopes = view_at(own, rows * (2 * count + units), (rows * units,))
        delta = view_at(outputs, rows * (units - top), (rows, top))
        for r in range(rows):
            for j in range(top):
                delta[r, j] = joined[r, width + j]
        filled = view_at(own, 0, (rows, 2 * count))
        network.backward(over, parameters, filled, outputs, slopes, output.gradient)
    if width > 0:
        entries = 2
        while entries < 2 * rows * share.integers.shape[1]:
            entries *= 2
        dense_size = parameters.size - integers[ROWS] * width
        collect_touched(
            share.integers,
            integers[PADDING],
            joined,
            view_at(own, place, (entries,)),
            view_at(output.gradient, dense_size, (output.touched.size, width)),
            output,
        )
    return OK
