"""Made rows beside held-out ones, and the shares of classes while the generator was trained."""

from pathlib import Path

import numpy as np

from pipelines.common.figures import Picture, new_figure, picture
from pipelines.protein_interfaces.columns import (
    CLASSES,
    COUNTS,
    INTERFACE,
    NAMES,
    RESIDUES,
)
from pipelines.protein_interfaces.quality import Rows
from pipelines.protein_interfaces.training import Looks

MARGINALS = (
    *("CC", "AA", "buried area", "dG", "surface charged %", "interface L %", "interface W %"),
    *("surface K %", "salt bridges", "bridging waters", "segments, first", "patches"),
)
PAIRS = (
    ("buried area", "dG"), ("buried area", "bridging waters"), ("CC", "salt bridges"),
    ("surface charged %", "surface polar %"), ("interface V %", "interface E %"),
    ("residues, first", "residues, second"),
)  # fmt: skip
REAL, MADE = "#555555", "#d1495b"
COLOURS = (
    "#1b6ca8", "#d1495b", "#2e933c", "#edae49", "#7a4988",
    "#66a182", "#8d5524", "#e377c2", "#222222",
)  # fmt: skip


def draw_marginals(real: np.ndarray, made: np.ndarray) -> Picture:
    """Draw the distributions of twelve columns of held-out and made rows, (rows, 64) each."""
    figure = new_figure(12, 8)
    panels = figure.subplots(3, 4).reshape(-1)
    for panel, name in zip(panels, MARGINALS, strict=True):
        column = NAMES.index(name)
        both = np.concatenate([real[:, column], made[:, column]])
        low, high = np.quantile(both, [0.001, 0.999])
        if column in COUNTS:
            step = max(1, round((high - low) / 40))
            edges = np.arange(low, high + 2 * step, step) - 0.5
        else:
            edges = np.linspace(low, high, 41)
        for rows, colour, label in ((real, REAL, "held-out"), (made, MADE, "made")):
            weights = np.full(len(rows), 100 / len(rows))
            filled = {"histtype": "stepfilled", "alpha": 0.35} if label == "held-out" else {
                "histtype": "step", "linewidth": 1.6
            }  # fmt: skip
            panel.hist(rows[:, column], edges, weights=weights, color=colour, label=label, **filled)
        panel.set_title(name, fontsize=10)
        panel.margins(x=0)
        panel.tick_params(labelsize=8)
    for panel in panels[::4]:
        panel.set_ylabel("percent of rows", fontsize=9)
    panels[0].legend(fontsize=9)
    figure.suptitle(f"{len(made):,} made and {len(real):,} held-out rows")
    return picture(
        figure, "marginals", "Distributions of twelve columns, made rows beside held-out ones.",
        "Outlines of made rows follow the filled histograms of held-out rows.",
    )  # fmt: skip


def draw_pairs(real: np.ndarray, made: np.ndarray) -> Picture:
    """Draw six pairs of columns: held-out rows above, made ones below, on the same axes."""
    figure = new_figure(14, 5.6)
    panels = figure.subplots(2, len(PAIRS), sharex="col", sharey="col")
    for place, (across, up) in enumerate(PAIRS):
        columns = NAMES.index(across), NAMES.index(up)
        edges = [_edges(real[:, column], column) for column in columns]
        found = [
            np.histogram2d(rows[:, columns[0]], rows[:, columns[1]], edges)[0] / len(rows)
            for rows in (real, made)
        ]
        most = max(each.max() for each in found)
        for row, (each, title) in enumerate(zip(found, ("held-out", "made"), strict=True)):
            panel = panels[row, place]
            panel.pcolormesh(
                *edges, np.ma.masked_equal(each.T, 0), cmap="viridis", norm="log",
                vmin=most / 500, vmax=most,
            )  # fmt: skip
            panel.tick_params(labelsize=7)
            panel.set_ylabel(up, fontsize=8)
            panel.set_title(title, fontsize=9)
        panels[1, place].set_xlabel(across, fontsize=8)
    return picture(
        figure, "pairs", "Pairs of columns, held-out rows above and made rows below; the colour is "
        "the share of rows, on a logarithmic scale.",
        "Clouds of made rows have about the shape of those of held-out rows; how salt bridges "
        "depend on charged contacts is blurred.",
    )  # fmt: skip


def draw_compositions(real: Rows, made: Rows) -> Picture:
    """Draw the interface's mean composition by class, made against held-out."""
    figure = new_figure(11, 5)
    left, right = figure.subplots(1, 2)
    for label, colour in enumerate(COLOURS):
        means = [each.values[each.labels == label, INTERFACE].mean(axis=0) for each in (real, made)]
        left.scatter(*means, s=22, color=colour, label=CLASSES[label], alpha=0.8)
    most = left.get_xlim()[1]
    left.plot([0, most], [0, most], color="black", linewidth=0.8)
    left.set_xlabel("mean percent, held-out rows")
    left.set_ylabel("mean percent, made rows")
    left.set_title("20 amino acids of the interface, by class")
    left.legend(fontsize=8, ncols=2)
    both = [each.values[:, INTERFACE].astype(np.float64) for each in (real, made)]
    correlations = [np.corrcoef(each, rowvar=False) for each in both]
    shown = np.where(np.tri(len(RESIDUES), dtype=bool), *correlations)
    np.fill_diagonal(shown, np.nan)
    image = right.imshow(shown, cmap="RdBu_r", vmin=-0.6, vmax=0.6)
    right.set_xticks(range(len(RESIDUES)), RESIDUES, fontsize=8)
    right.set_yticks(range(len(RESIDUES)), RESIDUES, fontsize=8)
    right.set_title("correlations: held-out below, made above")
    figure.colorbar(image, ax=right, shrink=0.85)
    return picture(
        figure, "compositions", "The interface's composition: means by class, and correlations.",
        "Means lie on the diagonal, and the triangles of correlations mirror each other.",
    )  # fmt: skip


def draw_training(looks: dict[str, Looks], shares: np.ndarray, floor: float) -> Picture:
    """Draw the classes' shares over training, and the discrepancy against seconds.

    Parameters
    ----------
    looks
        By who trained; the shares are those of the first.
    floor
        The discrepancy between two samples of training rows.
    """
    figure = new_figure(12, 4.8)
    left, right = figure.subplots(1, 2)
    first = next(iter(looks.values()))
    for label, colour in enumerate(COLOURS):
        left.plot(
            first.steps / 1000, 100 * first.shares[:, label], color=colour, label=CLASSES[label]
        )
        left.axhline(100 * shares[label], color=colour, linewidth=0.8, linestyle=":")
    left.set_xlabel("thousand steps of both networks")
    left.set_ylabel("percent of made rows")
    left.set_title("classes recognised in made rows; dotted: known shares")
    left.legend(fontsize=8, ncols=3, loc="upper right")
    left.set_ylim(0, 1.45 * max(100 * first.shares.max(), 100 * shares.max()))
    for (name, each), colour in zip(looks.items(), (MADE, COLOURS[0]), strict=False):
        right.plot(each.seconds, each.mmds, marker=".", color=colour, label=name)
    for times, style in ((1, ":"), (2, "--")):
        told = "two real samples" if times == 1 else "twice that"
        right.axhline(times * floor, color=REAL, linestyle=style, linewidth=1, label=told)
    right.set_yscale("log")
    right.set_xlabel("seconds of training")
    right.set_ylabel("maximum mean discrepancy from training rows")
    right.set_title("how near made rows come")
    right.legend(fontsize=8)
    right.grid(alpha=0.3, which="both")
    return picture(
        figure, "training", "Shares of classes and the discrepancy over training.",
        "Shares come to the dotted lines, and discrepancies fall.",
    )  # fmt: skip


def save(pictures: tuple[Picture, ...], folder: Path) -> None:
    """Write all pictures."""
    for each in pictures:
        each.save(folder)


def _edges(values: np.ndarray, column: int) -> np.ndarray:
    low, high = np.quantile(values, [0.0005, 0.9995])
    if column in COUNTS:
        return np.arange(np.floor(low), np.ceil(high) + 2) - 0.5
    return np.linspace(low, high, 50)
