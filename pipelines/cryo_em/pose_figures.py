"""What was found without poses: how far each stage came, and how far poses are from the truth."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.common.figures import Picture, new_figure, picture
from pipelines.cryo_em.figures import COLOURS

LEAST_ERROR, MOST_ERROR = 0.1, 180.0  # degrees, of the histogram


def draw_stages(
    names: Sequence[str], resolutions: Mapping[str, Sequence[float]], nyquist: float, wanted: float
) -> Picture:
    """Draw resolutions in A at the end of each stage, NaN where there is none.

    Parameters
    ----------
    nyquist, wanted
        A: what images allow, and what is asked for.
    """
    figure = new_figure(8.5, 4.4)
    panel = figure.subplots()
    for (name, values), colour in zip(resolutions.items(), COLOURS, strict=False):
        panel.plot(range(len(names)), values, color=colour, marker="o", label=name)
    for level, told in ((nyquist, "Nyquist"), (wanted, "wanted")):
        panel.axhline(level, color="#777777", linewidth=0.8, linestyle="--")
        panel.text(len(names) - 1, level, told, fontsize=8, color="#555555", va="bottom",
                   ha="right")  # fmt: skip
    panel.set_xticks(range(len(names)), names)
    panel.set_ylim(0, 1.08 * np.nanmax([wanted, *np.concatenate([*resolutions.values()])]))
    panel.set_ylabel("resolution, A")
    panel.legend(fontsize=9)
    return picture(
        figure, "stages", "Resolution at the end of each stage: the start's density is coarse by "
        "design, and the first pass over all images finds most of what is finer.",
        "Resolution falls from the start to the first pass, and a little from pass to pass.",
    )  # fmt: skip


def draw_pose_errors(errors: np.ndarray, wanted: float) -> Picture:
    """Draw how far poses are from the true ones: (rows,) degrees, after alignment."""
    figure = new_figure(8.5, 4.2)
    panel = figure.subplots()
    bins = np.geomspace(LEAST_ERROR, MOST_ERROR, 70)
    panel.hist(np.clip(errors, LEAST_ERROR, MOST_ERROR), bins=bins.tolist(), color=COLOURS[0])
    median = float(np.median(errors))
    lines = (
        (median, f"median {median:.2f}", COLOURS[1]),
        (wanted, f"wanted: median below {wanted:g}", "#555555"),
    )
    for value, told, colour in lines:
        panel.axvline(value, color=colour, linewidth=1.2, linestyle="--", label=told)
    panel.set_xscale("log")
    panel.set_xlim(LEAST_ERROR, MOST_ERROR)
    ticks = (0.1, 0.3, 1, 3, 10, 30, 100)
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.set_xlabel("distance from the true pose, degrees")
    panel.set_ylabel("images")
    panel.legend(fontsize=9)
    return picture(
        figure, "pose-errors", "How far each image's pose is from the true one, once the density "
        "is laid over the truth; images far to the right were put into another view.",
        "Nearly all poses lie within a few degrees, and a few about anywhere.",
    )  # fmt: skip
