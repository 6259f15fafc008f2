"""Where descent settles: the variance of its iterates around a minimum, and its temperature.

Every walker sits in a bowl f(w) = h (w - x)^2 / 2 whose rows pull it to x, of mean 0 and variance
1. Walkers of several curvatures h share a run, so that each run measures a whole curve against
x = learning rate times h.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ooc import noise, optim
from ooc.optim import Optimizer
from pipelines.common.dataset import Dataset
from pipelines.common.figures import Picture, new_figure, picture
from pipelines.common.section import Section
from pipelines.descent_laws.data import columns, write_rows
from pipelines.descent_laws.laws import Effort, Law, chapter, mean_and_error, within
from pipelines.descent_laws.model import Quadratic
from pipelines.descent_laws.walk import SecondMoments, walk

ROWS = 4096
GROUP = 32
STEPS_X = (1.5, 0.5, 0.15, 0.05, 0.015, 0.005)
HEAVY_X = (2.5, 0.5, 0.05, 0.005)
RESHUFFLED_ROWS, RESHUFFLED_BATCH = 160, 8
RESHUFFLED_X = (0.5, 0.05, 0.005)
TOLERANCE = 0.03
SGD_FORM = "x s² / (B (2 - x))"
HEAVY_FORM = "s²/B · x (1+µ) / ((1-µ) (2(1+µ) - x))"
WARM = 6.0  # times 1/x, until the start is forgotten

# A name, values of x, what was measured for each, its standard error, and the closed form.
Curve = tuple[str, tuple[float, ...], np.ndarray, np.ndarray, Callable[[float], float]]


def sgd_variance(x: float, batch_size: int) -> float:
    """Return the stationary variance of w for rows of variance 1, drawn with replacement.

    Examples
    --------
    >>> sgd_variance(1.0, 8)
    0.125
    """
    return x / (batch_size * (2 - x))


def heavy_ball_variance(x: float, batch_size: int, mu: float) -> float:
    """Return the same with a momentum `mu`.

    Examples
    --------
    >>> heavy_ball_variance(0.5, 8, 0.0) == sgd_variance(0.5, 8)
    True
    """
    return x * (1 + mu) / (batch_size * (1 - mu) * (2 * (1 + mu) - x))


def reshuffled_variance(x: float, rows: int, batch_size: int) -> float:
    """Return the variance at an epoch's end when each epoch visits every row once.

    Examples
    --------
    >>> ratio = reshuffled_variance(0.05, 160, 8) / sgd_variance(0.05, 8)
    >>> round(ratio, 7)
    0.0796547
    """
    steps, a = rows // batch_size, 1 - x
    powers = a ** np.arange(steps)
    spread = steps * np.sum(powers**2) - np.sum(powers) ** 2
    return float(x**2 / (rows - 1) * spread / (1 - a ** (2 * steps)))


def spread_of_groups(
    dataset: Dataset,
    optimizer: Callable[[float], Optimizer],
    batch_size: int,
    steps_x: tuple[float, ...],
    steps: int,
    effort: Effort,
    sampling: str = "replacement",
    every: int = 1,
    memory: float = 0.0,
    rate: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Measure w^2 for each x, with its standard error, over all seeds.

    Parameters
    ----------
    optimizer
        Makes the optimizer from its learning rate.
    steps
        Length of a run, after the start is forgotten.
    every
        Which steps count.
    memory
        Momentum, which makes effective steps longer and lets swings live on.
    rate
        Learning rate; curvatures are x over it.
    """
    group = dataset.arrays["X"].shape[1] // len(steps_x)
    curvatures = np.repeat(steps_x, group) / rate
    slowest = min(min(steps_x) / (1 - memory), 1 - memory) if memory else min(steps_x)
    first = -(-round(WARM / slowest) // every) * every
    per_epoch = -(-dataset.rows // batch_size)
    epochs = -(-(first + steps) // per_epoch)
    found = []
    for seed in effort.seeds:
        moments = SecondMoments(curvatures.size, first, every)
        model = Quadratic(curvatures=curvatures)
        walk(model, optimizer(rate), dataset, batch_size, epochs, moments, seed, sampling)
        found.append(moments.means.reshape(len(steps_x), group))
    pooled = [
        mean_and_error(np.concatenate([each[i] for each in found])) for i in range(len(steps_x))
    ]
    return np.array([mean for mean, _ in pooled]), np.array([error for _, error in pooled])


def stationary(folder: Path, effort: Effort) -> Section:
    """Measure rows 5 and 7: descent and heavy ball, rows drawn with replacement."""
    laws: list[Law] = []
    curves: list[Curve] = []
    dataset = write_rows(folder / "rows.zarr", {"X": columns(ROWS, GROUP * len(STEPS_X), seed=1)})
    for batch_size, steps in ((8, 60_000), (1, 16_000), (64, 16_000)):
        found, error = spread_of_groups(
            dataset, optim.sgd, batch_size, STEPS_X, effort.length(steps, 1500), effort
        )
        form = partial(sgd_variance, batch_size=batch_size)
        curves.append((f"B = {batch_size}", STEPS_X, found, error, form))
        shown = STEPS_X if batch_size == 8 else (0.5, 0.05)
        for x in shown:
            i = STEPS_X.index(x)
            name = f"stationary variance, B = {batch_size}, x = {x:g}"
            share = TOLERANCE * effort.widen
            laws.append(within(name, SGD_FORM, form(x), found[i], error[i], share))
    heavy = write_rows(folder / "heavy.zarr", {"X": columns(ROWS, GROUP * len(HEAVY_X), seed=2)})
    for mu in (0.5, 0.9):
        found, error = spread_of_groups(
            heavy,
            partial(optim.momentum, momentum=mu),
            8,
            HEAVY_X,
            effort.length(30_000, 1000),
            effort,
            memory=mu,
        )
        form = partial(heavy_ball_variance, batch_size=8, mu=mu)
        curves.append((f"heavy ball {mu:g}, B = 8", HEAVY_X, found, error, form))
        for i, x in enumerate(HEAVY_X):
            name = f"heavy ball, momentum {mu:g}, B = 8, x = {x:g}"
            share = TOLERANCE * effort.widen
            laws.append(within(name, HEAVY_FORM, form(x), found[i], error[i], share))
    return chapter(
        "Stationary variance",
        "With rows drawn at random, descent does not come to rest: it keeps a variance that grows "
        "with the learning rate and falls with the batch size. Momentum µ makes steps 1/(1-µ) "
        "times as long, and the variance grows with them.",
        tuple(laws),
        (_draw_stationary(curves),),
    )


def reshuffling(folder: Path, effort: Effort) -> Section:
    """Measure row 8: each epoch visits every row once, in an order of its own."""
    walkers = 48 * len(RESHUFFLED_X)
    dataset = write_rows(folder / "few.zarr", {"X": columns(RESHUFFLED_ROWS, walkers, seed=3)})
    per_epoch = RESHUFFLED_ROWS // RESHUFFLED_BATCH
    found, error = spread_of_groups(
        dataset,
        optim.sgd,
        RESHUFFLED_BATCH,
        RESHUFFLED_X,
        effort.length(2200 * per_epoch),
        effort,
        sampling="once",
        every=per_epoch,
    )
    laws = []
    for i, x in enumerate(RESHUFFLED_X):
        drawn = sgd_variance(x, RESHUFFLED_BATCH)
        closed = reshuffled_variance(x, RESHUFFLED_ROWS, RESHUFFLED_BATCH)
        laws.append(
            within(
                f"random reshuffling over replacement, N = 160, B = 8, x = {x:g}",
                "(x² s²/(N-1) · [m Σa²ʲ - (Σaʲ)²] / (1 - a²ᵐ)) / (x s²/(B(2-x)))",
                closed / drawn,
                found[i] / drawn,
                error[i] / drawn,
                TOLERANCE * effort.widen,
            )
        )
    return chapter(
        "Random reshuffling",
        "An epoch that visits each row exactly once pulls every walker by the same rows in total: "
        "at its end, what is left of the noise is only that of the order. For small steps that is "
        "far less than with rows drawn with replacement.",
        tuple(laws),
        (_draw_reshuffling(found, error),),
    )


def temperature(folder: Path, effort: Effort) -> Section:
    """Measure row 6: the temperature, predicted from the measured noise of the gradient."""
    walkers = 96
    dataset = write_rows(folder / "thermal.zarr", {"X": columns(ROWS, walkers, seed=4)})
    model = Quadratic(curvatures=np.ones(walkers))
    measured = noise.gradient_variance(model, np.zeros(walkers), dataset, (1, 2))
    row_noise = measured.variance(1) / walkers
    laws, points = [], []
    for rate, batch_size in ((0.025, 8), (0.05, 16), (0.05, 8), (0.1, 16), (0.1, 8), (0.2, 8)):
        found, error = spread_of_groups(
            dataset,
            optim.sgd,
            batch_size,
            (rate,),
            effort.length(round(800 / rate), 1000),
            effort,
            rate=rate,
        )
        closed = rate * row_noise / (batch_size * (2 - rate))
        points.append((rate, batch_size, float(found[0]), float(error[0])))
        name = f"temperature, learning rate {rate:g}, B = {batch_size}"
        form = "lr s_g² / (B (2 - x)), s_g² by ooc.noise"
        laws.append(within(name, form, closed, found[0], error[0], TOLERANCE * effort.widen))
    return chapter(
        "Temperature",
        "In a bowl, descent on sampled rows holds the energy h w²/2 = T/2 that a particle has at "
        "the temperature T = lr s_g² / (2B), for small steps. s_g², the variance of one row's "
        "gradient, was measured by ooc.noise.gradient_variance in a pass of its own.",
        tuple(laws),
        (_draw_temperature(points, row_noise),),
        {"row_gradient_variance": row_noise},
    )


def _draw_stationary(curves: list[Curve]) -> Picture:
    figure = new_figure()
    left, right = figure.subplots(1, 2)
    for name, x, found, error, form in curves:
        fine = np.geomspace(min(x), max(x), 200)
        closed = np.array([form(each) for each in x])
        (line,) = left.loglog(fine, [form(each) for each in fine], linewidth=1)
        color = line.get_color()
        left.loglog(x, found, "o", color=color, markersize=4, label=name)
        off, bars = 100 * (found / closed - 1), 200 * error / closed
        right.errorbar(x, off, bars, fmt="o", markersize=4, capsize=2, color=color)
    left.set_xlabel("x = learning rate · curvature")
    left.set_ylabel("variance of w, in variances of a row")
    left.set_title("points: measured; lines: closed form", fontsize="medium")
    left.legend(frameon=False, fontsize="small")
    right.axhspan(-3, 3, color="0.92")
    right.axhline(0, color="black", linewidth=0.8)
    right.set_xscale("log")
    right.set_xlabel("x = learning rate · curvature")
    right.set_ylabel("measured over closed form, percent off")
    right.set_title("bars: two standard errors; grey: 3 percent", fontsize="medium")
    return picture(
        figure,
        "stationary-variance",
        "Stationary variance of descent and of the heavy ball.",
        "Measured variances lie on their closed forms over three decades of x, within their "
        "errors.",
    )


def _draw_reshuffling(found: np.ndarray, error: np.ndarray) -> Picture:
    figure = new_figure(6.5, 4.2)
    axis = figure.subplots()
    fine = np.geomspace(0.003, 1, 100)
    forms = [reshuffled_variance(x, RESHUFFLED_ROWS, RESHUFFLED_BATCH) for x in fine]
    drawn = [sgd_variance(x, RESHUFFLED_BATCH) for x in fine]
    axis.loglog(fine, drawn, label="with replacement, closed form")
    axis.loglog(fine, forms, label="each row once an epoch, closed form")
    axis.errorbar(RESHUFFLED_X, found, 2 * error, fmt="ko", markersize=4, label="measured")
    axis.set_xlabel("x = learning rate · curvature")
    axis.set_ylabel("variance of w at an epoch's end")
    axis.legend(frameon=False, fontsize="small")
    axis.set_title(f"N = {RESHUFFLED_ROWS}, B = {RESHUFFLED_BATCH}", fontsize="medium")
    return picture(
        figure,
        "reshuffling",
        "Random reshuffling against drawing with replacement.",
        "Reshuffling's variance falls with the cube of x; measured points are on its closed form.",
    )


def _draw_temperature(points: list[tuple[float, int, float, float]], row_noise: float) -> Picture:
    figure = new_figure(6.5, 4.2)
    axis = figure.subplots()
    ratio = np.array([rate / batch_size for rate, batch_size, _, _ in points])
    line = np.linspace(0, 1.08 * ratio.max(), 50)
    axis.plot(line, line * row_noise / 2, color="black", linewidth=0.9, label="lr s_g² / (2B)")
    for batch_size, marker in ((8, "o"), (16, "s")):
        chosen = [i for i, point in enumerate(points) if point[1] == batch_size]
        axis.errorbar(
            ratio[chosen],
            [points[i][2] for i in chosen],
            [2 * points[i][3] for i in chosen],
            fmt=marker,
            capsize=2,
            label=f"measured, B = {batch_size}",
        )
    exact = [rate * row_noise / (batch_size * (2 - rate)) for rate, batch_size, _, _ in points]
    axis.plot(ratio, exact, "k+", markersize=12, label="lr s_g² / (B (2 - x)), each point's")
    axis.set_xlabel("learning rate / batch size")
    axis.set_ylabel("temperature: mean of h w²")
    axis.legend(frameon=False)
    return picture(
        figure,
        "temperature",
        "Temperature against learning rate over batch size.",
        "Measured temperatures lie on the straight line of the closed form; equal ratios of rate "
        "and batch size give equal temperatures.",
    )


def measure(folder: Path, effort: Effort) -> tuple[Section, ...]:
    """Measure all of it."""
    return stationary(folder, effort), temperature(folder, effort), reshuffling(folder, effort)
