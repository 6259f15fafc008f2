"""Slices and projections before and after, shell correlations, views, and resolution by epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipelines.common.figures import Picture, new_figure, picture
from pipelines.cryo_em.resolution import HALVES, TRUTH, Correlation

COLOURS = ("#1b6ca8", "#d1495b", "#2e933c", "#edae49", "#7a4988")
Curve = Sequence[tuple[float, float]]


def draw_slices(
    volumes: Mapping[str, np.ndarray],
    alternative: str = "After training all look like the truth; plain descent lacks what is "
    "coarsest and finest.",
) -> Picture:
    """Draw the central slice and the projection along z of densities, each in its own grey."""
    figure = new_figure(3.0 * len(volumes), 6.2)
    panels = figure.subplots(2, len(volumes), squeeze=False)
    for column, (name, volume) in enumerate(volumes.items()):
        views = (volume[len(volume) // 2], volume.sum(axis=0))
        for row, (view, told) in enumerate(zip(views, ("slice", "projection"), strict=True)):
            panel = panels[row, column]
            low, high = np.quantile(view, [0.01, 0.998])
            panel.imshow(view, cmap="gray", vmin=low, vmax=high, origin="lower")
            panel.set_title(f"{name}: {told}", fontsize=9)
            panel.set_axis_off()
    return picture(
        figure, "slices", "Central slices (above) and projections along z (below) of densities.",
        alternative,
    )  # fmt: skip


def draw_images(noisy: np.ndarray, clean: np.ndarray) -> Picture:
    """Draw some images as they are, and as the density that was found projects to them."""
    figure = new_figure(2.1 * len(noisy), 4.5)
    panels = figure.subplots(2, len(noisy), squeeze=False)
    for column, pair in enumerate(zip(noisy, clean, strict=True)):
        for row, image in enumerate(pair):
            panels[row, column].imshow(image, cmap="gray", origin="lower")
            panels[row, column].set_axis_off()
    panels[0, 0].set_title("images", fontsize=9, loc="left")
    panels[1, 0].set_title("projections of what was found", fontsize=9, loc="left")
    return picture(
        figure, "images", "Images, and projections in their poses of the density that was found.",
        "The images are noise to the eye; the projections show the particle.",
    )  # fmt: skip


def draw_correlations(
    curves: Mapping[str, Correlation],
    alternative: str = "The curves of descent lie a little below those of direct inversion.",
) -> Picture:
    """Draw shell correlations with both thresholds."""
    figure = new_figure(9, 4.6)
    panel = figure.subplots()
    for (name, each), colour in zip(curves.items(), COLOURS, strict=False):
        panel.plot(each.frequencies, each.values, color=colour, label=name)
    for level, told in ((HALVES, "0.143"), (TRUTH, "0.5")):
        panel.axhline(level, color="#777777", linewidth=0.8, linestyle="--")
        panel.text(0.002, level + 0.015, told, fontsize=8, color="#555555")
    most = max(each.frequencies[-1] for each in curves.values())
    panel.set_xlim(0, most)
    panel.set_ylim(-0.05, 1.05)
    ticks = [tick for tick in panel.get_xticks() if 0 < tick <= most]
    panel.set_xticks(ticks, [f"{tick:.3f}\n{1 / tick:.0f} A" for tick in ticks])
    panel.set_xlabel("spatial frequency, 1/A")
    panel.set_ylabel("Fourier shell correlation")
    panel.legend(fontsize=9)
    return picture(
        figure, "correlations", "Fourier shell correlations: half against half is read at 0.143, "
        "against the truth at 0.5.",
        alternative,
    )  # fmt: skip


def draw_views(directions: np.ndarray) -> Picture:
    """Draw where particles are viewed from: (rows, 3) unit vectors in an equal-area map."""
    figure = new_figure(8, 4)
    panel = figure.subplots()
    longitude = np.rad2deg(np.arctan2(directions[:, 1], directions[:, 0]))
    cells = panel.hist2d(
        longitude, np.clip(directions[:, 2], -1, 1), bins=(48, 24),
        range=((-180, 180), (-1, 1)), cmap="viridis",
    )  # fmt: skip
    figure.colorbar(cells[3], ax=panel, label="images in a cell of equal area")
    panel.set_xlabel("longitude of the view, degrees")
    panel.set_ylabel("sine of its latitude")
    return picture(
        figure, "views", "Angular distribution: how many images look along each direction.",
        "Cells of equal area; uniform views fill them evenly, preferred ones in three spots.",
    )  # fmt: skip


def draw_epochs(curves: Mapping[str, tuple[Curve, Curve]], nyquist: float) -> Picture:
    """Draw resolution, and how much of the finest shells is there, against epochs."""
    figure = new_figure(11, 4.4)
    left, right = figure.subplots(1, 2)
    for (name, (resolutions, amplitudes)), colour in zip(curves.items(), COLOURS, strict=False):
        for panel, curve in ((left, resolutions), (right, amplitudes)):
            panel.plot(*zip(*curve, strict=True), color=colour, marker=".", label=name)
    left.axhline(nyquist, color="#777777", linewidth=0.8, linestyle="--")
    left.set_ylabel("resolution, A (half against half, 0.143)")
    left.text(0.02, nyquist, "Nyquist", fontsize=8, color="#555555", va="bottom")
    left.legend(fontsize=9)
    right.axhline(1, color="#777777", linewidth=0.8, linestyle="--")
    right.set_ylabel("amplitude in the upper half of shells, of the truth's")
    right.set_ylim(0, 1.3)
    for panel in (left, right):
        panel.set_xlabel("epochs")
        panel.set_xlim(0)
    return picture(
        figure, "epochs", "Resolution and amplitude against epochs, with and without the diagonal "
        "preconditioner.",
        "With it fine shells are there within an epoch; without it they lag in amplitude.",
    )  # fmt: skip


def save(pictures: Sequence[Picture], folder: Path) -> None:
    """Write all pictures into a folder."""
    for each in pictures:
        each.save(folder)
