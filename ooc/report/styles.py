"""How runs are told apart: a colour and a line for each, the same all over a page."""

from dataclasses import dataclass

# Okabe and Ito, "Color universal design" (2008), the yellow left out: it is pale on white.
FEW = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
# Of many runs: after Kelly, "Twenty-two colors of maximum contrast" (1965), without pale ones.
MANY = (
    "#0067a5", "#f38400", "#be0032", "#008856", "#875692", "#a1caf1", "#848482", "#e68fac",
    "#654522", "#8db600", "#604e97", "#00a9a5", "#b3446c", "#2b3d26", "#882d17", "#e25822",
)  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class Style:
    """A run's colour and line, and what can be read on the colour."""

    colour: str
    dash: str
    text: str


def styles(runs: int) -> list[Style]:
    """Return a style for each run, best first; colours begin again with another line.

    Examples
    --------
    >>> [style.colour for style in styles(2)], len(set(styles(60)))
    (['#0072b2', '#d55e00'], 60)
    """
    shades = FEW if runs <= len(FEW) else MANY
    made = []
    for i in range(runs):
        shade = shades[i % len(shades)]
        made.append(Style(shade, DASHES[i // len(shades) % len(DASHES)], _text_on(shade)))
    return made


def pale(colour: str, opacity: float) -> str:
    """Return a colour that lets others through.

    Examples
    --------
    >>> pale("#0072b2", 0.2)
    'rgba(0,114,178,0.2)'
    """
    red, green, blue = bytes.fromhex(colour[1:])
    return f"rgba({red},{green},{blue},{opacity:g})"


def _text_on(colour: str) -> str:
    red, green, blue = bytes.fromhex(colour[1:])
    return "#fff" if 0.3 * red + 0.59 * green + 0.11 * blue < 148 else "#000"
