"""Tapes: expressions of a row's numbers as data, with their slopes by the reverse sweep.

A tape is a table of instructions (operation, first, second, constant), each of which fills the next
register; so another equation compiles nothing. Registers hold a tile of rows each.
"""

import math

import numpy as np

from ooc.core.compiler import lean_kernel, like

CONSTANT, ADD, SUBTRACT, MULTIPLY, DIVIDE, NEGATE, POWER = range(7)
SIN, COS, TAN, EXP, LOG, SQRT, TANH, SINH, COSH, ARCTAN, ABSOLUTE, MAXIMUM, MINIMUM = range(7, 20)
OPERANDS = 4  # entries of an instruction


@lean_kernel
def run(tape: np.ndarray, constants: np.ndarray, first: int, rows: int, values: np.ndarray) -> None:
    """Fill the registers from `first` on, one for each instruction.

    Parameters
    ----------
    tape
        (instructions, 4) int64.
    constants
        (constants,) float64.
    values
        (registers, row capacity); those below `first` are given.
    """
    zero = values[0, 0]
    for i in range(tape.shape[0]):
        code, a, b = tape[i, 0], tape[i, 1], tape[i, 2]
        number, out = like(constants[tape[i, 3]], zero), first + i
        for r in range(rows):
            x, y = values[a, r], values[b, r]
            if code == ADD:
                z = x + y
            elif code == SUBTRACT:
                z = x - y
            elif code == MULTIPLY:
                z = x * y
            elif code == DIVIDE:
                z = x / y
            elif code == NEGATE:
                z = -x
            elif code == CONSTANT:
                z = number
            elif code == POWER:
                z = like(x**number, zero)
            else:
                z = _unary(code, x, y)
            values[out, r] = z


@lean_kernel
def _unary(code: int, x: float, y: float) -> float:
    if code == SIN:
        return like(math.sin(x), x)
    if code == COS:
        return like(math.cos(x), x)
    if code == TAN:
        return like(math.tan(x), x)
    if code == EXP:
        return like(math.exp(x), x)
    if code == LOG:
        return like(math.log(x), x)
    if code == SQRT:
        return like(math.sqrt(x), x)
    if code == TANH:
        return like(math.tanh(x), x)
    if code == SINH:
        return like(math.sinh(x), x)
    if code == COSH:
        return like(math.cosh(x), x)
    if code == ARCTAN:
        return like(math.atan(x), x)
    if code == ABSOLUTE:
        return abs(x)
    if code == MAXIMUM:
        return x if x >= y else y
    return x if x <= y else y


@lean_kernel
def sweep(
    tape: np.ndarray,
    constants: np.ndarray,
    first: int,
    rows: int,
    values: np.ndarray,
    slopes: np.ndarray,
) -> None:
    """Add to the slopes of what each instruction read, from the last one to the first.

    Parameters
    ----------
    slopes
        Like `values`: derivatives of a loss by each register; those of results are given, all
        others are zero.
    """
    zero = values[0, 0]
    one = like(1.0, zero)
    for i in range(tape.shape[0] - 1, -1, -1):
        code, a, b = tape[i, 0], tape[i, 1], tape[i, 2]
        number, out = like(constants[tape[i, 3]], zero), first + i
        if code == CONSTANT:
            continue
        for r in range(rows):
            s, x, y, z = slopes[out, r], values[a, r], values[b, r], values[out, r]
            if code == ADD:
                slopes[a, r] += s
                slopes[b, r] += s
            elif code == SUBTRACT:
                slopes[a, r] += s
                slopes[b, r] -= s
            elif code == MULTIPLY:
                slopes[a, r] += s * y
                slopes[b, r] += s * x
            elif code == DIVIDE:
                slopes[a, r] += s / y
                slopes[b, r] -= s * z / y
            elif code == NEGATE:
                slopes[a, r] -= s
            elif code == POWER:
                slopes[a, r] += s * number * like(x ** (number - one), zero)
            elif code in (MAXIMUM, MINIMUM):
                if z == x:
                    slopes[a, r] += s
                else:
                    slopes[b, r] += s
            else:
                slopes[a, r] += s * _slope(code, x, z)


@lean_kernel
def _slope(code: int, x: float, z: float) -> float:
    one = like(1.0, x)
    if code == SIN:
        return like(math.cos(x), x)
    if code == COS:
        return -like(math.sin(x), x)
    if code == TAN:
        return one + z * z
    if code == EXP:
        return z
    if code == LOG:
        return one / x
    if code == SQRT:
        return like(0.5, x) / z
    if code == TANH:
        return one - z * z
    if code == SINH:
        return like(math.cosh(x), x)
    if code == COSH:
        return like(math.sinh(x), x)
    if code == ARCTAN:
        return one / (one + x * x)
    return one if x >= 0 else -one
