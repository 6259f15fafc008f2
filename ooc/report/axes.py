"""Colours of runs, and axes with numbers as people write them."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito, "Color universal design" (2008), the yellow left out: it is pale on white.
FEW = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
# A logarithmic scale helps where the values span more than this factor.
SPAN = 8.0


def colours(runs: int) -> list[str]:
    """Return a colour for each run, best first: of many runs, from dark to light.

    Examples
    --------
    >>> colours(2), len(set(colours(40)))
    (['#0072b2', '#d55e00'], 40)
    """
    if runs <= len(FEW):
        return list(FEW[:runs])
    import matplotlib
    from matplotlib.colors import to_hex

    return [to_hex(shade) for shade in matplotlib.colormaps["plasma"](np.linspace(0, 0.86, runs))]


def text_colour(colour: str) -> str:
    """Return what can be read on a colour: white on a dark one, black on a light one.

    Examples
    --------
    >>> text_colour("#0072b2"), text_colour("#fdc527")
    ('#fff', '#000')
    """
    red, green, blue = bytes.fromhex(colour[1:])
    return "#fff" if 0.3 * red + 0.59 * green + 0.11 * blue < 148 else "#000"


def write_numbers(axes: "Axes", values: np.ndarray, logarithmic: bool) -> None:
    """Let axes write numbers as people do.

    The vertical one is logarithmic if it may be and the values, any shape, span a large factor.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = np.nanmin(values), np.nanmax(values)
    if logarithmic and low > 0 and high > SPAN * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: short_number(value))


def short_number(value: float) -> str:
    """Write a number beside an axis.

    Examples
    --------
    >>> [short_number(value) for value in (0, 5e-5, 0.25, 2000, 5e4, 2.5e6)]
    ['0', '5e-5', '0.25', '2000', '50k', '2.5M']
    """
    for unit, factor, least in (("G", 1e9, 1e9), ("M", 1e6, 1e6), ("k", 1e3, 1e4)):
        if value >= least:
            return f"{value / factor:g}{unit}"
    digits, _, exponent = f"{value:g}".partition("e")
    return f"{digits}e{int(exponent)}" if exponent else digits
