"""What was foretold: confusion by notch, forecasts with intervals, and what each branch weighs."""

import numpy as np

from pipelines.common.figures import Picture, new_figure, picture
from pipelines.sovereign_rating.chain import AHEAD, LEADS
from pipelines.sovereign_rating.notches import letters_of
from pipelines.sovereign_rating.scores import interval_of

SHOWN = 4  # countries
INTERVAL = 0.8
BEFORE, AFTER = 12, 6  # months around a change


def draw_confusion(likely: np.ndarray, true: np.ndarray, where: str) -> Picture:
    """Draw which rating is foretold (column) where another one comes (row)."""
    notches = likely.shape[1]
    matrix = np.zeros((notches, notches))
    np.add.at(matrix, (true, likely.argmax(axis=1)), 1.0)
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = new_figure(8.6, 7.4)
    axes = figure.subplots()
    shown = np.ma.masked_less(shares, 0.5)
    image = axes.imshow(shown, origin="lower", cmap="Blues", vmin=0, vmax=100)
    for row, column in np.argwhere(shares >= 0.5):
        share = shares[row, column]
        color = "white" if share > 60 else "black"
        axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(range(notches), letters_of(notches), rotation=90)
    axes.set_yticks(range(notches), letters_of(notches))
    axes.set_xlabel("likeliest rating, as foretold twelve months before")
    axes.set_ylabel("rating that came")
    axes.set_title(f"{len(true):,} forecasts, {where}")
    figure.colorbar(image, ax=axes, label="percent of the ratings that came", shrink=0.8)
    return picture(
        figure, "confusion", "Ratings that came against those foretold.",
        "Nearly all forecasts are within one notch of the diagonal.",
    )  # fmt: skip


def draw_forecasts(
    likely: np.ndarray, ratings: np.ndarray, countries: np.ndarray, begin: int
) -> Picture:
    """Draw forecasts of a few countries from a month on, with what came.

    Parameters
    ----------
    likely
        (countries, months, notches).
    ratings
        (countries, months + 12) of the world.
    countries
        Those that may be shown: whose ratings move most are.
    """
    months, notches = likely.shape[1:]
    moves = np.abs(np.diff(ratings[countries, begin:])).sum(axis=1)
    shown = countries[np.argsort(-moves, kind="stable")[:SHOWN]]
    figure = new_figure(12, 7)
    panels = figure.subplots(2, 2, sharex=True)
    foretold = (np.arange(begin, months) + AHEAD) / 12
    for axes, country in zip(panels.flat, shown, strict=False):
        low, high = interval_of(likely[country, begin:], INTERVAL)
        likeliest, came = likely[country, begin:].argmax(axis=1), ratings[country, begin:]
        axes.fill_between(
            foretold, low - 0.3, high + 0.3, step="mid", color="tab:red", alpha=0.2, linewidth=0,
            label=f"{100 * INTERVAL:.0f}% interval",
        )  # fmt: skip
        axes.step(
            foretold, likeliest, where="mid", color="tab:red", label="foretold", linewidth=1.3
        )
        times = (begin + np.arange(len(came))) / 12
        axes.step(times, came, where="mid", color="black", label="came", linewidth=1.3)
        lowest, highest = min(low.min(), came.min()), max(high.max(), came.max())
        ticks = np.arange(lowest, highest + 1)[:: max(1, -(-(highest - lowest) // 9))]
        axes.set_yticks(ticks, np.array(letters_of(notches))[ticks])
        axes.set_title(f"country {country}", fontsize=10)
        axes.grid(alpha=0.3)
    for axes in panels[-1]:
        axes.set_xlabel("year that the forecast is of")
    panels[0, 0].legend(loc="best", fontsize=8)
    figure.suptitle("Forecasts of twelve months before, for the unseen countries that move most")
    return picture(
        figure, "forecasts", "Forecasts with intervals, and what came.",
        "Forecasts follow the ratings of four countries, mostly within the interval.",
    )  # fmt: skip


def draw_weights(
    figures: np.ndarray, news: np.ndarray, ratings: np.ndarray, countries: np.ndarray, later: int
) -> Picture:
    """Draw what each branch adds to the score: over time, and before ratings change.

    Parameters
    ----------
    figures, news
        (countries, months) parts of the score, see `network.Reading.parts`.
    later
        The first later month.
    """
    figures, news = (each[countries] - each[countries].mean() for each in (figures, news))
    months = figures.shape[1]
    figure = new_figure(12.5, 4.8)
    left, right = figure.subplots(1, 2)
    sizes = [np.abs(each).mean(axis=0) for each in (figures, news)]
    year = np.ones(12) / 12
    share = 100 * np.convolve(sizes[1] / (sizes[0] + sizes[1]), year, mode="valid")
    times = (np.arange(len(share)) + 12) / 12
    left.fill_between(times, 0, share, color="tab:red", alpha=0.6, linewidth=0, label="headlines")
    left.fill_between(times, share, 100, color="tab:blue", alpha=0.4, linewidth=0, label="figures")
    left.axvline(later / 12, color="black", linewidth=1, linestyle="--", label="later years begin")
    left.set_ylim(0, 100)
    left.set_xlim(times[0], times[-1])
    left.set_xlabel("year")
    left.set_ylabel("percent of what moves the score")
    left.set_title("weight of each branch, means of a year")
    left.legend(loc="upper right", fontsize=8)
    moved = np.sign(np.diff(ratings[countries, :months], axis=1))
    leads = np.arange(-BEFORE, AFTER + 1)
    right.axvspan(-LEADS[-1], -LEADS[0], color="grey", alpha=0.2, linewidth=0, label="turns begin")
    for sign, style, what in ((1, "-", "upgrades"), (-1, "--", "downgrades")):
        rows, at = np.nonzero(moved == sign)
        at = at + 1
        inside = (at >= BEFORE) & (at + AFTER < months)
        rows, at = rows[inside], at[inside]
        for part, color, name in ((figures, "tab:blue", "figures"), (news, "tab:red", "headlines")):
            if len(rows):
                mean = [part[rows, at + lead].mean() for lead in leads]
                right.plot(leads, mean, style, color=color, label=f"{name}, {what}")
    right.set_xticks(leads[::3])
    right.axvline(0, color="black", linewidth=1)
    right.set_xlabel("months after the rating changes")
    right.set_ylabel("mean part of the score")
    right.set_title("what comes before a change")
    right.legend(fontsize=8)
    right.grid(alpha=0.3)
    return picture(
        figure, "weights", "What figures and headlines add to the score, unseen countries.",
        "Headlines begin to move the score six to three months before ratings change.",
    )  # fmt: skip
