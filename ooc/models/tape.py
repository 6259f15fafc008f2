"""Equations as data: a function of named numbers is traced once, and becomes a tape.

A traced function is called with expressions for numbers. Arithmetic and NumPy's functions of one
number make larger expressions of them, which `ooc.kernels.tape` evaluates row by row, with slopes.
"""

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.kernels import tape as codes

_UFUNCS = {
    np.sin: codes.SIN, np.cos: codes.COS, np.tan: codes.TAN, np.exp: codes.EXP, np.log: codes.LOG,
    np.sqrt: codes.SQRT, np.tanh: codes.TANH, np.sinh: codes.SINH, np.cosh: codes.COSH,
    np.arctan: codes.ARCTAN, np.abs: codes.ABSOLUTE, np.maximum: codes.MAXIMUM,
    np.minimum: codes.MINIMUM, np.add: codes.ADD, np.subtract: codes.SUBTRACT,
    np.multiply: codes.MULTIPLY, np.divide: codes.DIVIDE, np.negative: codes.NEGATE,
    np.power: codes.POWER, np.square: codes.POWER,
}  # fmt: skip


@dataclass
class Tape:
    """Instructions that grow while a function is traced.

    Attributes
    ----------
    inputs
        Registers that are given.
    code
        An (operation, first, second, constant) each, see `ooc.kernels.tape`.
    constants
        The numbers that they name.
    """

    inputs: int
    code: list[tuple[int, int, int, int]] = field(default_factory=list)
    constants: list[float] = field(default_factory=lambda: [0.0])
    _known: dict[tuple[int, int, int, int], int] = field(default_factory=dict)

    def add(self, code: int, first: int = 0, second: int = 0, number: float | None = None) -> int:
        """Append an instruction, unless it is there; return its register."""
        place = 0
        if number is not None:
            if number not in self.constants:
                self.constants.append(number)
            place = self.constants.index(number)
        line = (code, first, second, place)
        if line not in self._known:
            self._known[line] = self.inputs + len(self.code)
            self.code.append(line)
        return self._known[line]

    def constant(self, number: float) -> "Expression":
        """Return a number as an expression."""
        return Expression(self, self.add(codes.CONSTANT, number=float(number)))


@dataclass(frozen=True, eq=False)
class Expression:
    """What stands for a number while a function is traced: a register of a tape."""

    tape: Tape
    register: int

    def __add__(self, other: Any) -> "Expression":
        return self._with(codes.ADD, self, other)

    def __radd__(self, other: Any) -> "Expression":
        return self._with(codes.ADD, other, self)

    def __sub__(self, other: Any) -> "Expression":
        return self._with(codes.SUBTRACT, self, other)

    def __rsub__(self, other: Any) -> "Expression":
        return self._with(codes.SUBTRACT, other, self)

    def __mul__(self, other: Any) -> "Expression":
        return self._with(codes.MULTIPLY, self, other)

    def __rmul__(self, other: Any) -> "Expression":
        return self._with(codes.MULTIPLY, other, self)

    def __truediv__(self, other: Any) -> "Expression":
        return self._with(codes.DIVIDE, self, other)

    def __rtruediv__(self, other: Any) -> "Expression":
        return self._with(codes.DIVIDE, other, self)

    def __neg__(self) -> "Expression":
        return Expression(self.tape, self.tape.add(codes.NEGATE, self.register))

    def __abs__(self) -> "Expression":
        return Expression(self.tape, self.tape.add(codes.ABSOLUTE, self.register))

    def __pow__(self, exponent: Any) -> "Expression":
        if isinstance(exponent, Expression):
            raise InputError("the exponent of a power must be a number: write exp(b log(a))")
        if exponent == 2:
            return self * self
        if exponent == 3:
            return self * self * self
        power = self.tape.add(codes.POWER, self.register, number=float(exponent))
        return Expression(self.tape, power)

    def __rpow__(self, base: Any) -> "Expression":
        return np.exp(self * np.log(base))

    def __bool__(self) -> bool:
        raise InputError(
            "an equation cannot branch on its numbers (if, and, or): use np.maximum, np.minimum or "
            "np.abs, or give each part of the geometry an equation of its own"
        )

    __lt__ = __le__ = __gt__ = __ge__ = lambda self, other: self.__bool__()

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **options: Any) -> Any:
        if ufunc not in _UFUNCS or method != "__call__" or options:
            known = ", ".join(sorted(each.__name__ for each in _UFUNCS))
            raise InputError(f"equations know no {ufunc.__name__}; they know {known}")
        if ufunc is np.square:
            return given[0] * given[0]
        if ufunc is np.power:
            return given[0] ** given[1]
        code = _UFUNCS[ufunc]
        if len(given) == 1:
            return Expression(self.tape, self.tape.add(code, self.register))
        return self._with(code, *given)

    def _with(self, code: int, first: Any, second: Any) -> "Expression":
        registers = []
        for each in (first, second):
            if isinstance(each, numbers.Real):
                each = self.tape.constant(float(each))
            if not isinstance(each, Expression):
                raise InputError(f"an equation cannot use a {type(each).__name__} as a number")
            registers.append(each.register)
        return Expression(self.tape, self.tape.add(code, *registers))


def trace(
    function: Callable[..., Any], tape: Tape, named: Mapping[str, Expression]
) -> Sequence[Expression]:
    """Call a function with the expressions that its parameters name; return what it returns.

    Raises
    ------
    InputError
        If it uses what a tape has not, or returns no number.
    """
    name = function.__name__
    try:
        told = function(**named)
    except InputError as error:
        raise InputError(f"the equation {name} cannot be traced: {error}") from None
    except TypeError as error:
        raise InputError(
            f"the equation {name} cannot be traced: {error}; it may use arithmetic, and NumPy's "
            "functions instead of those of math"
        ) from None
    told = told if isinstance(told, tuple) else (told,)
    results = [
        tape.constant(float(each)) if isinstance(each, numbers.Real) else each for each in told
    ]
    for each in results:
        if not isinstance(each, Expression):
            raise InputError(f"the equation {name} returns {each!r}, and no residual")
    return results
