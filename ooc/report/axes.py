"""Colours of runs, and axes with numbers as people write them."""

from typing import TYPE_CHECKING, Any

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

    shades = matplotlib.colormaps["plasma"](np.linspace(0.0, 0.86, runs))
    return [to_hex(shade) for shade in shades]


def text_colour(colour: str) -> str:
    """Return what can be read on a colour: white on a dark one, black on a light one.

    Examples
    --------
    >>> text_colour("#0072b2"), text_colour("#fdc527")
    ('#fff', '#000')
    """
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return "#fff" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.58 else "#000"


def scale_axis(axes: "Axes", values: np.ndarray, logarithmic: bool) -> None:
    """Choose the vertical axis' scale, with numbers as people write them.

    Parameters
    ----------
    axes
        Whose axis it is.
    values
        What is drawn, any shape; NaN is left out.
    logarithmic
        Whether a logarithmic scale may be chosen; it is, where values span a large factor.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = np.nanmin(values), np.nanmax(values)
    if logarithmic and low > 0 and high > SPAN * low:
        axes.set_yscale("log")
        decades = np.log10(high / low)
        subs = (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: decade_number(value)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    plain_numbers(axes.yaxis)


def plain_numbers(axis: Any) -> None:
    """Let a linear axis write its numbers as people do."""
    from matplotlib.ticker import FuncFormatter

    def written(value: float, _: int) -> str:
        return short_number(value, float(np.max(np.abs(axis.get_view_interval()))))

    axis.set_major_formatter(FuncFormatter(written))


def short_number(value: float, largest: float) -> str:
    """Write a number beside an axis that goes up to `largest`, all of an axis in one manner.

    Examples
    --------
    >>> [short_number(value, 3e6) for value in (0, 5e5, 2.5e6)]
    ['0', '0.5M', '2.5M']
    >>> short_number(0.25, 0.8), short_number(5e-5, 2e-4), short_number(1000, 1200)
    ('0.25', '5e-5', '1000')
    """
    if 0 < largest < 1e-2 and value:
        digits, _, exponent = f"{value:.6e}".partition("e")
        return f"{float(digits):g}e{int(exponent)}"
    for unit, factor, least in (("G", 1e9, 2e9), ("M", 1e6, 2e6), ("k", 1e3, 1e4)):
        if largest >= least and value:
            return f"{value / factor:g}{unit}"
    return f"{value:.10g}"


def decade_number(value: float) -> str:
    """Write a number beside a logarithmic axis.

    Examples
    --------
    >>> [decade_number(value) for value in (2e-5, 0.005, 0.5, 2000, 5e6)]
    ['2e-5', '0.005', '0.5', '2000', '5M']
    """
    return short_number(value, value if value < 1e-4 else max(value, 0.1))
