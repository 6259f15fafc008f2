"""How the variance of the mini-batch gradient falls with the batch size, by `ooc.noise`.

The model is logistic regression at parameters that are not its best; the batches are those of the
loader. Each law is about the trace of the covariance of a batch's mean gradient.
"""

from pathlib import Path

import numpy as np

import ooc
from ooc.core.random_keys import Purpose, generator
from ooc.measure.gradient_noise import GradientNoise, expected_variance, gradient_variance
from ooc.stream.mixing_theory import inflation
from pipelines.common.dataset import Dataset
from pipelines.common.figures import Picture, new_figure, picture
from pipelines.common.section import Section
from pipelines.descent_laws.data import FEATURES, labelled_rows, write_rows
from pipelines.descent_laws.laws import Effort, Law, chapter, near, within
from pipelines.descent_laws.walk import MEMORY

SIZES = tuple(2**power for power in range(13))
FEW_ROWS, LARGE_SIZES = 2**14, tuple(2**power for power in range(6, 14))
SORTED_ROWS, BLOCK_ROWS, WINDOWS = 2**16, 256, (4, 16, 64)
SORTED_SIZES = tuple(2**power for power in range(3, 13))
SLOPE, FACTOR, BLOCKWISE = 0.02, 0.02, 0.05


def parameters(seed: int) -> np.ndarray:
    """Return where gradients are taken."""
    drawn = 0.1 * generator(seed, Purpose.PARAMETERS).standard_normal(FEATURES + 1)
    return drawn.astype(np.float32)


def with_and_without_replacement(folder: Path, effort: Effort) -> Section:
    """Measure row 1: s2/B, and the factor of a finite population."""
    many = write_rows(folder / "many.zarr", labelled_rows(2**16, seed=1))
    few = write_rows(folder / "few.zarr", labelled_rows(FEW_ROWS, seed=2))
    model = ooc.models.Logistic()
    drawn = gradient_variance(
        model,
        parameters(1),
        many,
        SIZES,
        memory=MEMORY,
        sampling="replacement",
        epochs=effort.length(64, 2),
    )
    # One pass over single rows gives s2 exactly; large batches need many passes.
    rows = gradient_variance(model, parameters(2), few, (1,), memory=MEMORY)
    once = gradient_variance(
        model, parameters(2), few, LARGE_SIZES, memory=MEMORY, epochs=effort.length(1000, 20)
    )
    slope_error = _slope_error(drawn)
    laws = [
        near(
            "slope of log variance against log B, with replacement, B = 1 to 4096",
            "variance = s²/B: slope -1",
            -1.0,
            drawn.slope(),
            slope_error,
            SLOPE * effort.widen,
        )
    ]
    for size in (1024, 4096, FEW_ROWS // 2):
        found = next(each for each in once.sizes if each.batch_size == size)
        plain = expected_variance(rows.variance(1), size, FEW_ROWS, "replacement")
        laws.append(
            within(
                f"finite-population factor, N = {FEW_ROWS:,}, B = {size:,}",
                "variance · B/s² = (N-B)/(N-1)",
                (FEW_ROWS - size) / (FEW_ROWS - 1),
                found.variance / plain,
                found.error / plain,
                FACTOR * effort.widen,
            )
        )
    return chapter(
        "Variance of the mini-batch gradient",
        "One pass measures all batch sizes at once. With rows drawn with replacement the variance "
        "falls as 1/B. When an epoch visits each row once, a batch is a sample without "
        "replacement, and what it says of the rest lessens its variance.",
        tuple(laws),
        (_draw_variance(drawn, once, rows.variance(1)),),
        {"slope_standard_error": slope_error},
    )


def blockwise(folder: Path, effort: Effort) -> Section:
    """Measure row 3: sorted rows, shuffled block by block, predicted and observed."""
    rows = labelled_rows(SORTED_ROWS, seed=3)
    order = np.argsort(rows["y"], kind="stable")
    ordered = {name: values[order] for name, values in rows.items()}
    dataset = write_rows(folder / "sorted.zarr", ordered, BLOCK_ROWS)
    model, place = ooc.models.Logistic(), parameters(3)
    # As stored, a batch of b rows is a block: its variance is that between blocks.
    stored = gradient_variance(
        model, place, dataset, (1, BLOCK_ROWS), memory=MEMORY, shuffle="none", block_rows=BLOCK_ROWS
    )
    share = stored.variance(BLOCK_ROWS) / stored.variance(1)
    laws: list[Law] = []
    curves = []
    for window in WINDOWS:
        observed = _observed(model, place, dataset, window, effort)
        curves.append((window, observed))
        for size in (64, 1024):
            found = next(each for each in observed.sizes if each.batch_size == size)
            full = expected_variance(stored.variance(1), size, SORTED_ROWS)
            laws.append(
                within(
                    f"blockwise, sorted rows, {window} of {SORTED_ROWS // BLOCK_ROWS} blocks in "
                    f"a window, B = {size:,}: variance over a full shuffle's",
                    "s²/B + (B-1)/B c, c from Vb and Vw",
                    inflation(share, SORTED_ROWS, BLOCK_ROWS, window, size),
                    found.variance / full,
                    found.error / full,
                    BLOCKWISE * effort.widen,
                )
            )
    return chapter(
        "Blockwise shuffling of sorted rows",
        "Rows are sorted by label, so that blocks differ: Vb/s² of the gradient, measured from "
        f"blocks as stored, is {share:.4f}. From this number alone the closed form predicts by "
        "how much a window of few blocks inflates the variance of batches.",
        tuple(laws),
        (_draw_blockwise(share, curves, stored.variance(1)),),
        {"between_share": share},
    )


def _observed(
    model: ooc.models.Logistic, place: np.ndarray, dataset: Dataset, window: int, effort: Effort
) -> GradientNoise:
    """Measure batches that divide the window: none lies in two."""
    sizes = [size for size in SORTED_SIZES if size <= window * BLOCK_ROWS]
    return gradient_variance(
        model,
        place,
        dataset,
        sizes,
        memory=MEMORY,
        window=window,
        block_rows=BLOCK_ROWS,
        epochs=effort.length(160, 3),
    )


def _slope_error(noise: GradientNoise) -> float:
    """Return the standard error of the slope, the sizes' errors taken as independent."""
    batch = np.log([float(found.batch_size) for found in noise.sizes])
    error = np.array([found.error / found.variance for found in noise.sizes])
    batch -= batch.mean()
    return float(np.sqrt(np.sum((batch * error) ** 2)) / (batch @ batch))


def _draw_variance(drawn: GradientNoise, once: GradientNoise, row_variance: float) -> Picture:
    figure = new_figure()
    left, right = figure.subplots(1, 2)
    sizes = np.array([found.batch_size for found in drawn.sizes])
    left.loglog(sizes, drawn.variance(1) / sizes, color="black", linewidth=0.9, label="s²/B")
    left.loglog(
        sizes,
        [found.variance for found in drawn.sizes],
        "o",
        markersize=4,
        label=f"with replacement, slope {drawn.slope():.4f}",
    )
    left.loglog(
        [found.batch_size for found in once.sizes],
        [found.variance for found in once.sizes],
        "s",
        markersize=4,
        label="each row once",
    )
    left.set_xlabel("batch size B")
    left.set_ylabel("variance of the mini-batch gradient")
    left.legend(frameon=False, fontsize="small")
    fine = np.geomspace(1, FEW_ROWS * 0.9, 200)
    right.semilogx(
        fine, (FEW_ROWS - fine) / (FEW_ROWS - 1), color="black", linewidth=0.9, label="(N-B)/(N-1)"
    )
    scale = np.array([found.batch_size for found in once.sizes]) / row_variance
    right.errorbar(
        [found.batch_size for found in once.sizes],
        scale * [found.variance for found in once.sizes],
        2 * scale * [found.error for found in once.sizes],
        fmt="s",
        color="tab:orange",
        markersize=4,
        capsize=2,
        label=f"each row once, N = {FEW_ROWS:,}",
    )
    right.set_xlabel("batch size B")
    right.set_ylabel("variance over s²/B")
    right.set_ylim(0, 1.15)
    right.legend(frameon=False, fontsize="small")
    return picture(
        figure,
        "gradient-variance",
        "Variance of the mini-batch gradient against the batch size.",
        "Left: measured variances fall on the line 1/B over three and a half decades. Right: "
        "without replacement they fall below it, on the factor of a finite population.",
    )


def _draw_blockwise(
    share: float, curves: list[tuple[int, GradientNoise]], row_variance: float
) -> Picture:
    figure = new_figure(6.5, 4.4)
    axis = figure.subplots()
    for window, observed in curves:
        sizes = [found.batch_size for found in observed.sizes]
        forms = [inflation(share, SORTED_ROWS, BLOCK_ROWS, window, size) for size in sizes]
        full = np.array([expected_variance(row_variance, size, SORTED_ROWS) for size in sizes])
        (line,) = axis.loglog(sizes, forms, linewidth=1)
        axis.errorbar(
            sizes,
            np.array([found.variance for found in observed.sizes]) / full,
            2 * np.array([found.error for found in observed.sizes]) / full,
            fmt="o",
            markersize=4,
            color=line.get_color(),
            label=f"{window} of {SORTED_ROWS // BLOCK_ROWS} blocks in a window",
        )
    axis.set_xlabel("batch size B")
    axis.set_ylabel("variance over that of a full shuffle")
    axis.set_title("points: observed; lines: predicted from Vb/s²", fontsize="medium")
    axis.legend(frameon=False)
    return picture(
        figure,
        "blockwise-variance",
        "Blockwise shuffling of rows that are sorted by label.",
        "Observed inflation of the variance lies on its prediction; it is larger for fewer blocks "
        "in a window and for larger batches.",
    )


def measure(folder: Path, effort: Effort) -> tuple[Section, ...]:
    """Measure all of it."""
    return with_and_without_replacement(folder, effort), blockwise(folder, effort)
