"""How far a network is from obeying equations: squared residuals of rows, each with a tag.

A row is a point; its tag says which equations hold there, and so which derivatives its jets carry.
"""

import math
from typing import Any

import numpy as np

from ooc.core.compiler import exact_kernel, view_at
from ooc.kernels import jets, tape
from ooc.kernels.counters import BAD_INTEGER, NOT_FINITE, OK
from ooc.kernels.share import BAD, Numbers, Output, Share

# Entries of the model's integers: whether residuals themselves are added up, for the size of their
# gradients, and not their squares; dimensions, whether rows have a normal, directions, tags, terms,
# rows of a tile, registers, most channels, and L, the number of layers; then L + 1 widths. Behind
# them each tag has an order for each direction, and where its instructions and its results begin
# among all, and how many there are; then come all instructions, and all results: a register, and
# the term that it belongs to. The reals are centre and factor of each coordinate, the directions, a
# weight of each term, and the tapes' constants.
IS_LINEAR, DIMENSIONS, NORMALS, DIRECTIONS, TAGS, TERMS = range(6)
TILE, REGISTERS, CHANNELS, COUNT, WIDTHS = range(6, 11)
OF_TAG = 4
RESULT = 2


@exact_kernel
def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share; see `ooc.kernels.share.accumulate_of`.

    `own` holds what `row_values` says for each row of a tile, and the largest layer's weights.
    """
    n, rows = numbers.integers, share.features.shape[0]
    tags = share.integers[:, 0]
    for r in range(rows):
        if not 0 <= tags[r] < n[TAGS]:
            output.report[BAD] = r
            return BAD_INTEGER
    output.gradient[:] = 0.0
    output.terms[:] = 0.0
    for tag in range(n[TAGS]):
        first = 0
        while first < rows:
            found = _tile(share, tag, first, parameters, numbers, own, output)
            if found < 0:
                output.report[BAD] = -1 - found
                return NOT_FINITE
            first = found
    return OK


@exact_kernel
def _tile(
    share: Share,
    tag: int,
    first: int,
    parameters: np.ndarray,
    numbers: Numbers,
    own: np.ndarray,
    output: Output,
) -> int:
    """Work off the next rows of a tag from `first` on; return where it came to.

    Where a row's residual is not finite, return minus 1 minus its place.
    """
    n: Any = numbers.integers
    reals = numbers.reals
    dimensions, layers, terms = n[DIMENSIONS], n[COUNT], n[TERMS]
    normals, registers = n[NORMALS] * dimensions, n[REGISTERS]
    widths = n[WIDTHS : WIDTHS + layers + 1]
    units: Any = np.int64(0)
    largest: Any = np.int64(0)
    for layer in range(layers):
        units += widths[layer + 1]
        largest = max(largest, widths[layer] * widths[layer + 1])
    per_row = row_values(n, units)
    most = min(n[TILE], (own.size - largest) // per_row)
    points = view_at(own, 0, (most, dimensions))
    place = most * dimensions
    further = view_at(own, place, (most, normals))
    place += most * normals
    masses = view_at(own, place, (most,))
    place += most
    places = view_at(own, place, (most,))
    place += most

    rows, at = 0, first
    while at < share.features.shape[0] and rows < most:
        if share.integers[at, 0] == tag:
            for d in range(dimensions):
                points[rows, d] = share.features[at, d]
            for d in range(normals):
                further[rows, d] = share.further[at, d]
            masses[rows] = share.weights[at] if share.weights.size > 0 else 1.0
            places[rows] = at
            rows += 1
        at += 1
    if rows == 0:
        return at

    table = WIDTHS + layers + 1
    of_tag = table + tag * (n[DIRECTIONS] + OF_TAG)
    orders = n[of_tag : of_tag + n[DIRECTIONS]]
    channels = 1 + orders.sum()
    line, lines, result, results = n[of_tag + n[DIRECTIONS] : of_tag + n[DIRECTIONS] + OF_TAG]
    behind = table + n[TAGS] * (n[DIRECTIONS] + OF_TAG)
    code = view_at(n, behind + line * tape.OPERANDS, (lines, tape.OPERANDS))
    pairs = view_at(n, behind + result, (results, RESULT))
    directions = reals[2 * dimensions : (2 + n[DIRECTIONS]) * dimensions]
    weights = reals[(2 + n[DIRECTIONS]) * dimensions :]
    constants = weights[terms:]

    stacked = channels * rows
    inputs = view_at(own, place, (stacked, dimensions))
    place += n[CHANNELS] * most * dimensions
    z = view_at(own, place, (stacked * units,))
    place += n[CHANNELS] * most * units
    y = view_at(own, place, (stacked * units,))
    place += n[CHANNELS] * most * units
    values = view_at(own, place, (registers, most))
    place += registers * most
    slopes = view_at(own, place, (registers, most))
    place += registers * most
    product = view_at(own, place, (largest,))

    scale, tile = reals[:dimensions], points[:rows]
    jets.fill_inputs(tile, scale, reals[dimensions : 2 * dimensions], directions, orders, inputs)
    jets.forward(widths, orders, parameters, inputs, z, y, rows)

    outputs = widths[layers]
    given: Any = np.int64(0)
    answers = view_at(z, stacked * (units - outputs), (stacked, outputs))
    for channel in range(channels):
        for output_number in range(outputs):
            for r in range(rows):
                values[given, r] = answers[channel * rows + r, output_number]
            given += 1
    for d in range(dimensions):
        for r in range(rows):
            values[given, r] = points[r, d]
        given += 1
    for d in range(normals):
        for r in range(rows):
            values[given, r] = further[r, d]
        given += 1
    tape.run(code, constants, given, rows, values)
    for i in range(given + lines):
        for r in range(rows):
            slopes[i, r] = 0.0
    for i in range(results):
        register, term = pairs[i, 0], pairs[i, 1]
        weight, total = weights[term], 0.0
        for r in range(rows):
            residual = values[register, r]
            square = weight * masses[r] * np.float64(residual) * residual
            if not math.isfinite(square):
                return -1 - int(places[r])
            total += square
            if n[IS_LINEAR] != 0:
                slopes[register, r] += weight * masses[r]
            else:
                slopes[register, r] += 2.0 * weight * masses[r] * residual
        output.terms[term] += total
    tape.sweep(code, constants, given, rows, values, slopes)
    given = 0
    for channel in range(channels):
        for output_number in range(outputs):
            for r in range(rows):
                answers[channel * rows + r, output_number] = slopes[given, r]
            given += 1
    jets.backward(widths, orders, parameters, inputs, z, y, rows, product, output.gradient)
    return at


@exact_kernel
def row_values(integers: np.ndarray, units: int) -> int:
    """Return the values of scratch for a row of a tile, `units` those of all layers."""
    n = integers
    jets_of_row = n[CHANNELS] * (n[DIMENSIONS] + 2 * units)
    return n[DIMENSIONS] * (1 + n[NORMALS]) + 2 + jets_of_row + 2 * n[REGISTERS]


@exact_kernel
def evaluate(
    numbers: Numbers,
    tag: int,
    parameters: np.ndarray,
    points: np.ndarray,
    normals: np.ndarray,
    own: np.ndarray,
    values: np.ndarray,
    answers: np.ndarray,
) -> None:
    """Fill residuals of a tag's results at points, and the network's outputs there.

    Parameters
    ----------
    points, normals
        (rows, D) and (rows, D or 0).
    own
        Scratch, as much for each row as `row_values` says.
    values
        (results, rows) float64, filled.
    answers
        (rows, outputs), filled.
    """
    n: Any = numbers.integers
    reals, rows = numbers.reals, points.shape[0]
    dimensions, layers, terms = n[DIMENSIONS], n[COUNT], n[TERMS]
    widths = n[WIDTHS : WIDTHS + layers + 1]
    units = widths[1:].sum()
    table = WIDTHS + layers + 1
    of_tag = table + tag * (n[DIRECTIONS] + OF_TAG)
    orders = n[of_tag : of_tag + n[DIRECTIONS]]
    channels = 1 + orders.sum()
    line, lines, result, results = n[of_tag + n[DIRECTIONS] : of_tag + n[DIRECTIONS] + OF_TAG]
    behind = table + n[TAGS] * (n[DIRECTIONS] + OF_TAG)
    code = view_at(n, behind + line * tape.OPERANDS, (lines, tape.OPERANDS))
    pairs = view_at(n, behind + result, (results, RESULT))
    directions = reals[2 * dimensions : (2 + n[DIRECTIONS]) * dimensions]
    constants = reals[(2 + n[DIRECTIONS]) * dimensions + terms :]
    stacked, place = channels * rows, channels * rows * dimensions
    inputs = view_at(own, 0, (stacked, dimensions))
    z = view_at(own, place, (stacked * units,))
    y = view_at(own, place + stacked * units, (stacked * units,))
    place += 2 * stacked * units
    jets.fill_inputs(
        points, reals[:dimensions], reals[dimensions : 2 * dimensions], directions, orders, inputs
    )
    jets.forward(widths, orders, parameters, inputs, z, y, rows)
    outputs, given = widths[layers], 0
    whole = view_at(z, channels * rows * (units - outputs), (channels * rows, outputs))
    answers[:] = whole[:rows]
    count = channels * outputs + points.shape[1] + normals.shape[1] + lines
    registers = view_at(own, place, (count, rows))
    for channel in range(channels):
        for output_number in range(outputs):
            registers[given] = whole[channel * rows : (channel + 1) * rows, output_number]
            given += 1
    for d in range(points.shape[1]):
        registers[given] = points[:, d]
        given += 1
    for d in range(normals.shape[1]):
        registers[given] = normals[:, d]
        given += 1
    tape.run(code, constants, given, rows, registers)
    for i in range(results):
        values[i] = registers[pairs[i, 0]]
