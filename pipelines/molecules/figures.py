"""Draws why mini-batches stall on a sum of pair terms, and what an archive of minima holds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.common.figures import Picture, new_figure, picture
from pipelines.molecules.mini_batches import BATCH_PAIRS, Trace
from pipelines.molecules.summary import RESOLUTION, Summary

LOWEST_SHOWN = 1e-15


def draw_descent(full: Sequence[Trace], batches: Sequence[Trace], atoms: int) -> Picture:
    """Draw energies and gradient norms against the pairs that were evaluated."""
    figure = new_figure(13.5, 5.6)
    left, right = figure.subplots(1, 2)
    colours = [f"tab:{name}" for name in ("red", "orange", "green", "purple", "brown", "cyan")]
    for trace, style in zip(full, ("-", "--"), strict=True):
        look: dict[str, Any] = {"color": "black", "linewidth": 2, "linestyle": style}
        left.plot(trace.work, np.maximum(trace.energy, LOWEST_SHOWN), label=trace.label, **look)
        right.plot(trace.work, trace.gradient_norm, label=trace.label, **look)
    for trace, colour in zip(batches, colours, strict=False):
        look = {"color": colour, "linewidth": 0.8, "alpha": 0.85}
        left.plot(trace.work, np.maximum(trace.energy, LOWEST_SHOWN), label=trace.label, **look)
        right.plot(trace.work, trace.gradient_norm, **look)
        if trace.floor:
            left.axhline(trace.floor, color=colour, linestyle=":", linewidth=1.8)
            left.annotate(
                f"its floor by theory: {trace.floor:.1e}",
                (0.01, trace.floor),
                xycoords=("axes fraction", "data"),
                xytext=(0, 4),
                textcoords="offset points",
                color=colour,
                fontsize=9,
            )
    noise = batches[0].noise_norm
    right.axhline(noise, color="grey", linewidth=1.8, linestyle=":")
    right.annotate(
        f"the noise of {BATCH_PAIRS} pairs at the minimum,\n{noise:.0f}, stays: "
        "the forces of pairs\ncancel there, but none is zero",
        (0.98, noise),
        xycoords=("axes fraction", "data"),
        xytext=(0, 8),
        textcoords="offset points",
        ha="right",
        color="dimgrey",
        fontsize=9,
    )
    right.axhline(1e-8, color="grey", linewidth=1, linestyle="--")
    falling = next((trace for trace in batches if trace.needed), None)
    goal = "the goal, 1e-8"
    if falling is not None:
        goal += f": with the falling rate\nafter about {falling.needed:.0e} pairs"
    right.annotate(
        goal,
        (0.98, 1e-8),
        xycoords=("axes fraction", "data"),
        xytext=(0, 5),
        textcoords="offset points",
        ha="right",
        color="dimgrey",
        fontsize=9,
    )
    for axes, title, name in (
        (left, "full gradients reach the minimum, batches their floor", "energy above the minimum"),
        (right, "once it is smaller than the noise, no batch sees the gradient", "gradient norm"),
    ):
        axes.set(xscale="log", yscale="log", xlabel="pairs of atoms evaluated")
        axes.set_ylabel(f"{name} (reduced units)")
        axes.set_title(f"LJ{atoms}: {title}", fontsize=11)
        axes.grid(alpha=0.3)
    left.legend(loc="lower left", fontsize=9)
    return picture(
        figure,
        "descent",
        "Energies and gradient norms against the pairs that were evaluated.",
        "Full gradients reach the minimum; mini-batches of pairs stall at the floor that theory "
        "gives.",
    )


def draw_minima(summary: Summary, atoms: int) -> Picture:
    """Draw the energies, how often each minimum was found, and how many were found when."""
    figure = new_figure(16, 4.8)
    left, middle, right = figure.subplots(1, 3)
    edges = np.linspace(summary.energies[0] - 0.05, summary.energies[-1] + 0.05, 161)
    left.hist(summary.energies, edges, weights=summary.counts, color="tab:blue")
    left.set(yscale="log", xlabel="energy", ylabel="minimisations")
    left.set_title(f"{summary.rows:,} minimisations of LJ{atoms}", fontsize=11)
    middle.scatter(
        summary.energies, summary.counts, 5, summary.nearest, cmap="viridis", rasterized=True
    )
    figure.colorbar(middle.collections[0], ax=middle, label="distance to the nearest atom")
    middle.set(yscale="log", xlabel="energy", ylabel="times found")
    middle.set_title(
        f"{summary.distinct:,} minima told apart by {RESOLUTION:g}; "
        f"the lowest: {100 * summary.lowest_share:.1f}%",
        fontsize=11,
    )
    rows = np.geomspace(1, summary.rows, 200).astype(np.int64)
    right.plot(rows, summary.found_after(rows), color="tab:blue", label="found")
    right.axhline(
        summary.expected_distinct,
        color="grey",
        linestyle="--",
        label=f"there are, by Chao's estimate: {summary.expected_distinct:,.0f}",
    )
    right.set(xscale="log", xlabel="minimisations", ylabel="distinct minima")
    right.set_title("how many minima are found", fontsize=11)
    right.legend(loc="center left", fontsize=9)
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    return picture(
        figure,
        "minima",
        "The minima of the archive: energies, how often each was found, how many were found when.",
        f"{summary.distinct:,} distinct minima, of about {summary.expected_distinct:,.0f}.",
    )
