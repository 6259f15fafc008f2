"""Laws that hold at points: functions that are zero where a network obeys them, as tapes.

A law's parameters name what it takes: outputs (u), derivatives of them (u_xxy), coordinates (x) and
parts of the boundary's normal (n_x). A tag is a set of laws that hold at the same points.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ooc.core.errors import InputError
from ooc.kernels import residuals as kernels
from ooc.models.derivatives import Direction, Partial, directions_of, partial_of
from ooc.models.tape import Expression, Tape, trace

Law: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Compiled:
    """Laws as the kernel reads them.

    Attributes
    ----------
    directions
        Along which jets go, for all tags.
    orders
        For each tag, the order of derivatives along each direction.
    tapes
        One a tag.
    results
        For each tag (register, term) pairs.
    uses_normals
        Whether any law asks for the boundary's normal.
    """

    directions: tuple[Direction, ...]
    orders: tuple[tuple[int, ...], ...]
    tapes: tuple[Tape, ...]
    results: tuple[tuple[tuple[int, int], ...], ...]
    uses_normals: bool

    @property
    def channels(self) -> int:
        """Most channels of a tag's jets."""
        return max(1 + sum(orders) for orders in self.orders)

    @property
    def registers(self) -> int:
        """Most registers of a tag's tape."""
        return max(tape.inputs + len(tape.code) for tape in self.tapes)

    def integers(self) -> list[int]:
        """Return the tables behind the widths, see `ooc.kernels.residuals`."""
        rows, codes, pairs, line, result = list[int](), list[int](), list[int](), 0, 0
        lines = sum(len(tape.code) for tape in self.tapes)
        constants = 0
        for orders, tape, results in zip(self.orders, self.tapes, self.results, strict=True):
            rows += [*orders, line, len(tape.code), 4 * lines + result, len(results)]
            codes += [v for op, a, b, c in tape.code for v in (op, a, b, c + constants)]
            pairs += [value for pair in results for value in pair]
            line, result = line + len(tape.code), result + kernels.RESULT * len(results)
            constants += len(tape.constants)
        return [*rows, *codes, *pairs]

    def constants(self) -> list[float]:
        """Return the constants of all tapes."""
        return [number for tape in self.tapes for number in tape.constants]


def compile_laws(
    tags: Sequence[Sequence[Law]], coordinates: Sequence[str], outputs: Sequence[str]
) -> Compiled:
    """Trace the laws of each tag; a law is a term, and may return several residuals.

    Raises
    ------
    InputError
        If a law asks for what is not there, or cannot be traced.
    """
    named = [{law: _partials_of(law, coordinates, outputs) for law in laws} for laws in tags]
    every = [each for of in named for found in of.values() for each in found.values()]
    lines = [line for each in every if sum(each.orders) for line, _ in directions_of(each.orders)]
    directions = tuple(dict.fromkeys(lines))
    uses_normals = any(each.given >= len(coordinates) for each in every)
    further = len(coordinates) * (1 + uses_normals)
    tapes, results, all_orders, term = [], [], [], 0
    for laws, partials in zip(tags, named, strict=True):
        orders = [0] * len(directions)
        for found in partials.values():
            for each in found.values():
                for line, _ in directions_of(each.orders) if sum(each.orders) else ():
                    place = directions.index(line)
                    orders[place] = max(orders[place], sum(each.orders))
        channels = 1 + sum(orders)
        tape, pairs = Tape(channels * len(outputs) + further), []
        for law in laws:
            given = {
                name: _expression(tape, each, directions, orders, len(outputs), channels)
                for name, each in partials[law].items()
            }
            pairs += [(each.register, term) for each in trace(law, tape, given)]
            term += 1
        tapes.append(tape)
        results.append(tuple(pairs))
        all_orders.append(tuple(orders))
    return Compiled(directions, tuple(all_orders), tuple(tapes), tuple(results), uses_normals)


def _partials_of(
    law: Law, coordinates: Sequence[str], outputs: Sequence[str]
) -> dict[str, Partial]:
    if not callable(law) or not hasattr(law, "__name__"):
        raise InputError(f"a law is a function, not {law!r}")
    names = list(inspect.signature(law).parameters)
    return {name: partial_of(name, law.__name__, coordinates, outputs) for name in names}


def _expression(
    tape: Tape,
    partial: Partial,
    directions: Sequence[Direction],
    orders: Sequence[int],
    outputs: int,
    channels: int,
) -> Expression:
    """Return the register of what a parameter names, or the sum that it is."""
    if partial.output < 0:
        return Expression(tape, channels * outputs + partial.given)
    order = sum(partial.orders)
    if order == 0:
        return Expression(tape, partial.output)
    total: Any = 0.0
    for line, factor in directions_of(partial.orders):
        place = directions.index(line)
        channel = sum(orders[:place]) + order
        found = Expression(tape, channel * outputs + partial.output)
        part = found if factor == 1 else factor * found
        total = part if isinstance(total, float) else total + part
    assert isinstance(total, Expression), "a derivative has at least one direction"
    return total


def integers_of(
    compiled: Compiled, widths: Sequence[int], terms: int, tile: int, is_linear: bool = False
) -> np.ndarray:
    """Return the kernel's integers for layers of these widths."""
    head = [
        *(is_linear, widths[0], compiled.uses_normals, len(compiled.directions)),
        *(len(compiled.tapes), terms, tile, compiled.registers, compiled.channels),
        *(len(widths) - 1, *widths),
    ]
    return np.array([*head, *compiled.integers()], np.int64)
