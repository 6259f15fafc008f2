"""Figures without a display, and the pictures that become of them."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure of the page: PNG, with a caption and a text for those who cannot see it.

    Attributes
    ----------
    name
        Of its file, where it is saved.
    """

    name: str
    caption: str
    alternative: str
    png: bytes

    @property
    def source(self) -> str:
        """The picture itself as an address that a page can hold."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"

    def save(self, folder: Path) -> Path:
        """Write the PNG into a folder, which is made; return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.png"
        path.write_bytes(self.png)
        return path


def new_figure(width: float = 9.5, height: float = 4.4) -> "Figure":
    """Return an empty figure that draws without a display and without global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def picture(figure: "Figure", name: str, caption: str, alternative: str) -> Picture:
    """Turn a figure into PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return Picture(name, caption, alternative, stream.getvalue())
