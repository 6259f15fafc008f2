"""Jets: a tanh network's outputs with their derivatives along directions, and the way back.

A jet is a value and its first k derivatives along a straight line, k up to 4. All jets of a tile
lie in one matrix, channel by channel: values, then for each direction derivatives of order 1 to k.
A layer is then one product for all channels, and tanh takes each jet through the chain rule of
higher order (Faa di Bruno; Griewank and Walther 2008, chapter 13).
"""

import math

import numpy as np

from ooc.core.compiler import exact_kernel, lean_sums, like, view_at

HIGHEST = 4


@lean_sums
def tanh_forward(z: np.ndarray, y: np.ndarray, orders: np.ndarray, size: int) -> None:
    """Fill jets of tanh(z), and put tanh in the place of z's values: z itself is needed no more.

    Parameters
    ----------
    z, y
        (channels * size,), flat.
    orders
        (directions,) int64, the order of derivatives along each, 0 to `HIGHEST`.
    size
        Values of a channel.
    """
    one, two, three = like(1.0, z[0]), like(2.0, z[0]), like(3.0, z[0])
    four, six = like(4.0, z[0]), like(6.0, z[0])
    sixteen, many = like(16.0, z[0]), like(24.0, z[0])
    t0, y0 = view_at(z, 0, (size,)), view_at(y, 0, (size,))
    for i in range(size):
        value = like(math.tanh(t0[i]), t0[i])
        t0[i] = value
        y0[i] = value
    at = np.int64(0)
    for order in orders:
        at += size
        if order == 0:
            at -= size
            continue
        # Channels that are not there are never touched: they stand for the first.
        z1, y1 = view_at(z, at, (size,)), view_at(y, at, (size,))
        second = at + size if order > 1 else at
        z2, y2 = view_at(z, second, (size,)), view_at(y, second, (size,))
        third = at + 2 * size if order > 2 else at
        z3, y3 = view_at(z, third, (size,)), view_at(y, third, (size,))
        fourth = at + 3 * size if order > 3 else at
        z4, y4 = view_at(z, fourth, (size,)), view_at(y, fourth, (size,))
        if order == 1:
            for i in range(size):
                y1[i] = (one - t0[i] * t0[i]) * z1[i]
        elif order == 2:
            for i in range(size):
                t, a = t0[i], z1[i]
                s1 = one - t * t
                y1[i] = s1 * a
                y2[i] = s1 * (z2[i] - two * t * a * a)
        else:
            for i in range(size):
                t, a, b = t0[i], z1[i], z2[i]
                s1, s2, s3 = one - t * t, -two * t, six * t * t - two
                y1[i] = s1 * a
                y2[i] = s1 * (b + s2 * a * a)
                y3[i] = s1 * (z3[i] + three * s2 * a * b + s3 * a * a * a)
            if order == 4:
                for i in range(size):
                    t, a, b = t0[i], z1[i], z2[i]
                    s1, s2, s3 = one - t * t, -two * t, six * t * t - two
                    s4, square = t * (sixteen - many * t * t), a * a
                    inner = s2 * (four * a * z3[i] + three * b * b)
                    inner += six * s3 * square * b + s4 * square * square
                    y4[i] = s1 * (z4[i] + inner)
        at += (order - 1) * size


@lean_sums
def tanh_backward(z: np.ndarray, bar: np.ndarray, orders: np.ndarray, size: int) -> None:
    """Turn a loss's derivatives by jets of tanh(z) into those by jets of z.

    Parameters
    ----------
    z
        As `tanh_forward` left it.
    bar
        (channels * size,), flat, overwritten.
    """
    one, two, three = like(1.0, z[0]), like(2.0, z[0]), like(3.0, z[0])
    four, six = like(4.0, z[0]), like(6.0, z[0])
    sixteen, many, most = like(16.0, z[0]), like(24.0, z[0]), like(120.0, z[0])
    t0, bar0 = view_at(z, 0, (size,)), view_at(bar, 0, (size,))
    for i in range(size):
        bar0[i] *= one - t0[i] * t0[i]
    at = np.int64(0)
    for order in orders:
        at += size
        if order == 0:
            at -= size
            continue
        z1, bar1 = view_at(z, at, (size,)), view_at(bar, at, (size,))
        second = at + size if order > 1 else at
        z2, bar2 = view_at(z, second, (size,)), view_at(bar, second, (size,))
        third = at + 2 * size if order > 2 else at
        z3, bar3 = view_at(z, third, (size,)), view_at(bar, third, (size,))
        fourth = at + 3 * size if order > 3 else at
        z4, bar4 = view_at(z, fourth, (size,)), view_at(bar, fourth, (size,))
        if order == 1:
            for i in range(size):
                t = t0[i]
                b1 = (one - t * t) * bar1[i]
                bar0[i] -= two * t * z1[i] * b1
                bar1[i] = b1
        elif order == 2:
            for i in range(size):
                t, a, b1, b2 = t0[i], z1[i], bar1[i], bar2[i]
                s1, s2, s3 = one - t * t, -two * t, six * t * t - two
                bar0[i] += s1 * (s2 * a * b1 + (s2 * z2[i] + s3 * a * a) * b2)
                bar1[i] = s1 * (b1 + two * s2 * a * b2)
                bar2[i] = s1 * b2
        else:
            if order == 4:
                # What the fourth derivative adds to the value; to the others it comes behind.
                for i in range(size):
                    t, a, b, c, b4 = t0[i], z1[i], z2[i], z3[i], bar4[i]
                    square, aa = t * t, a * a
                    s1, s2, s3 = one - square, -two * t, six * square - two
                    s4 = t * (sixteen - many * square)
                    s5 = sixteen - most * square + most * square * square
                    inner = s2 * z4[i] + s3 * (four * a * c + three * b * b)
                    inner += six * s4 * aa * b + s5 * aa * aa
                    bar0[i] += s1 * inner * b4
                    bar4[i] = s1 * b4
            for i in range(size):
                t, a, b, c = t0[i], z1[i], z2[i], z3[i]
                b1, b2, b3 = bar1[i], bar2[i], bar3[i]
                square, aa = t * t, a * a
                s1, s2, s3 = one - square, -two * t, six * square - two
                s4 = t * (sixteen - many * square)
                by_second = s2 * b + s3 * aa
                by_third = s2 * c + three * s3 * a * b + s4 * aa * a
                inner0 = s2 * a * b1 + by_second * b2 + by_third * b3
                inner1 = b1 + two * s2 * a * b2 + three * by_second * b3
                inner2 = b2 + three * s2 * a * b3
                bar0[i] += s1 * inner0
                bar1[i] = s1 * inner1
                bar2[i] = s1 * inner2
                bar3[i] = s1 * b3
            if order == 4:
                for i in range(size):
                    t, a, b, c, s1b4 = t0[i], z1[i], z2[i], z3[i], bar4[i]
                    square, aa = t * t, a * a
                    s2, s3 = -two * t, six * square - two
                    s4 = t * (sixteen - many * square)
                    by_second = s2 * b + s3 * aa
                    by_third = s2 * c + three * s3 * a * b + s4 * aa * a
                    bar1[i] += four * by_third * s1b4
                    bar2[i] += six * by_second * s1b4
                    bar3[i] += four * s2 * a * s1b4
        at += (order - 1) * size


@lean_sums
def fill_inputs(
    points: np.ndarray,
    centre: np.ndarray,
    factor: np.ndarray,
    directions: np.ndarray,
    orders: np.ndarray,
    inputs: np.ndarray,
) -> None:
    """Fill the jets of scaled coordinates, (x - centre) times factor.

    Parameters
    ----------
    points
        (rows, D).
    directions
        (directions * D,), flat.
    inputs
        (channels * rows, D), filled.
    """
    rows, dimensions = points.shape
    for r in range(rows):
        for d in range(dimensions):
            inputs[r, d] = (points[r, d] - centre[d]) * factor[d]
    at = rows
    for k in range(orders.size):
        for order in range(orders[k]):
            for r in range(rows):
                for d in range(dimensions):
                    slope = directions[k * dimensions + d] * factor[d]
                    inputs[at + r, d] = slope if order == 0 else 0.0
            at += rows


@exact_kernel
def forward(
    widths: np.ndarray,
    orders: np.ndarray,
    parameters: np.ndarray,
    inputs: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    rows: int,
) -> None:
    """Run jets of inputs through all layers; the last one, which has no tanh, leaves them in z.

    Parameters
    ----------
    widths
        (layers + 1,) int64.
    inputs
        (channels * rows, D).
    z, y
        Of all layers one after the other, each (channels * rows, units), flat.
    """
    stacked, weight, place, below = inputs.shape[0], np.int64(0), np.int64(0), inputs
    layers = widths.size - 1
    for layer in range(layers):
        fan, units = widths[layer], widths[layer + 1]
        weights = view_at(parameters, weight, (units, fan))
        biases = view_at(parameters, weight + units * fan, (units,))
        products = view_at(z, place, (stacked, units))
        np.dot(below, weights.T, out=products)
        for r in range(rows):
            for j in range(units):
                products[r, j] += biases[j]
        if layer < layers - 1:
            size = stacked * units
            flat = view_at(z, place, (size,)), view_at(y, place, (size,))
            tanh_forward(flat[0], flat[1], orders, rows * units)
            below = view_at(y, place, (stacked, units))
        weight, place = weight + units * (fan + 1), place + stacked * units


@exact_kernel
def backward(
    widths: np.ndarray,
    orders: np.ndarray,
    parameters: np.ndarray,
    inputs: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    rows: int,
    product: np.ndarray,
    gradient: np.ndarray,
) -> None:
    """Add a tile's gradient by the parameters; the last layer's z holds derivatives by outputs.

    Parameters
    ----------
    z, y
        As `forward` left them; y is overwritten.
    product
        Scratch for the largest layer's weights, flat.
    """
    stacked, layers = inputs.shape[0], widths.size - 1
    end, place = np.int64(0), np.int64(0)
    for layer in range(layers):
        end += (widths[layer] + 1) * widths[layer + 1]
        place += stacked * widths[layer + 1]
    place -= stacked * widths[layers]
    bar = view_at(z, place, (stacked, widths[layers]))
    for layer in range(layers - 1, -1, -1):
        fan, units = widths[layer], widths[layer + 1]
        bias = end - units
        start = bias - units * fan
        for r in range(rows):
            for j in range(units):
                gradient[bias + j] += bar[r, j]
        below = inputs
        if layer > 0:
            place -= stacked * fan
            below = view_at(y, place, (stacked, fan))
        weights_gradient = view_at(product, 0, (units, fan))
        np.dot(bar.T, below, out=weights_gradient)
        for i in range(units * fan):
            gradient[start + i] += product[i]
        if layer > 0:
            np.dot(bar, view_at(parameters, start, (units, fan)), out=below)
            size = stacked * fan
            flat = view_at(z, place, (size,)), view_at(y, place, (size,))
            tanh_backward(flat[0], flat[1], orders, rows * fan)
            bar = below
        end = start
