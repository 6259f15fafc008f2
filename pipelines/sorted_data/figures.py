"""How far the held-out loss is above the full shuffle's final one, against the steps."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.common.figures import Picture, new_figure, picture
from pipelines.sorted_data.model import Outcome

LOWEST_SHOWN = 0.02  # percent; below it is noise


def draw(found: Mapping[str, Sequence[Outcome]], target: float) -> Picture:
    """Draw all ways, a panel for each dataset.

    Parameters
    ----------
    found
        Outcomes by the dataset's title, the full shuffle last.
    target
        Share above the full shuffle's final loss that is near enough.
    """
    figure = new_figure(11.5, 5)
    axes = figure.subplots(1, len(found), sharey=True)
    for axis, (title, outcomes) in zip(axes, found.items(), strict=True):
        full = outcomes[-1].final
        for outcome in outcomes:
            is_full = outcome is outcomes[-1]
            excess = np.maximum(100 * (outcome.trajectory.losses / full - 1), LOWEST_SHOWN)
            axis.plot(
                outcome.trajectory.steps,
                excess,
                label=outcome.name,
                color="black" if is_full else None,
                linestyle="--" if is_full else "-",
                linewidth=1.2,
            )
        axis.axhline(
            100 * target, color="grey", linewidth=0.9, linestyle=":", label="target at the end"
        )
        axis.set_title(f"{title}; full shuffle ends at {full:.4f}", fontsize="medium")
        axis.set_xlabel("steps")
        axis.set_yscale("log")
        axis.set_ylim(bottom=LOWEST_SHOWN)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("held-out loss above the full shuffle's final one, percent")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=7, frameon=False, fontsize="small"
    )
    return picture(
        figure,
        "sorted-data",
        "Held-out loss above the full shuffle's final one.",
        "Without a shuffle the loss ends far above that of a full shuffle; windows of blocks end "
        "near it, and the exact shuffle on it.",
    )
