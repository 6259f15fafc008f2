"""Sovereign ratings: what figures and headlines together foretell, twelve months ahead.

A world of countries is generated whose hidden turns the headlines tell of three to six months
before ratings show them, so that the best possible forecast is known: an exact filter. A network
with a branch for figures and one for headlines learns out of core from some countries in earlier
years. It is judged on unseen countries and on later years, beside the last rating, an ordered
logit, gradient boosting, the same network without headlines, and in PyTorch. What text adds is a
property of this generator, and says nothing of real news. ``--csv FILE --columns FILE.toml`` asks
the same of a table of one's own, without text.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ooc.core.errors import InputError
from ooc.core.sizes import format_size, parse_count
from pipelines.common.arguments import (
    Parser,
    add_data_options,
    add_training_options,
    check_memory,
    check_training,
)
from pipelines.common.checks import Check, at_least, inside_budget
from pipelines.common.command import carry_out
from pipelines.common.dataset import progress
from pipelines.common.section import Section
from pipelines.sovereign_rating import plain
from pipelines.sovereign_rating.best import best_forecast
from pipelines.sovereign_rating.chain import AHEAD, NOTCHES
from pipelines.sovereign_rating.data import CLASSES, Generated, evidence_of, generate
from pipelines.sovereign_rating.figures import (
    INTERVAL,
    draw_confusion,
    draw_forecasts,
    draw_weights,
)
from pipelines.sovereign_rating.network import Reading, Training, months_of, read
from pipelines.sovereign_rating.own_table import judge_table
from pipelines.sovereign_rating.peers import read_with_torch
from pipelines.sovereign_rating.scores import (
    Forecast,
    Score,
    interval_of,
    persistence,
    ratings_from_movements,
    score,
    table_of,
    to_json,
)

QUICK = {"rows": "150k", "countries": 100, "years": 25}
# What text adds at least to exact forecasts, in points; how much of the best possible is reached;
# and the area under the ROC curve of a change within twelve months.
ADDED, OF_BEST, CHANGE_AUC = 3.0, 0.9, 0.75
WHOLE, ALONE = "network, figures and headlines", "network, figures alone"
BOTH = "unseen countries in later years"
BEST, BEST_OF_FIGURES = "best possible", "best possible of figures alone"


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Generate, train, foretell, judge, draw; or judge a table of one's own."""
    budget = check_memory(options.memory)
    if options.csv or options.columns or options.split:
        yield from judge_table(options)
        return
    rows = parse_count(options.rows)
    check(options, rows)
    training = Training(
        options.epochs, options.batch_size, options.lr, options.memory, options.seed
    )
    generated = generate(options.folder, options.seed, options.countries, options.years, rows)
    whole = read(generated, training, "both", options.folder)
    alone = read(generated, training, "figures", options.folder)
    torch = read_with_torch(generated, training)
    world, judged = generated.world, judged_months(generated)
    forecasts = _plain(generated, judged)
    with progress("find the best possible"):
        best = best_forecast(world, evidence_of(generated, options.memory))
        best_of_figures = best_forecast(world, None)

    for name, which in judged.items():
        ratings, true = world.ratings[:, :-AHEAD][which], world.ratings[:, AHEAD:][which]
        found = [persistence(ratings, NOTCHES), *forecasts[name]]
        for title, reading in ((ALONE, alone), (WHOLE, whole)):
            likely = ratings_from_movements(reading.likely(which), ratings, NOTCHES)
            found.append(Forecast(title, likely, reading.run.results["seconds"]))
        if torch is not None:
            likely = ratings_from_movements(torch[0][which], ratings, NOTCHES)
            found.append(Forecast(f"{WHOLE}, PyTorch", likely, torch[1]))
        found.append(Forecast(BEST_OF_FIGURES, best_of_figures[which]))
        found.append(Forecast(BEST, best[which]))
        scores = [score(each.likely, ratings, true) for each in found]
        yield Section(
            f"{name[0].upper()}{name[1:]}: {len(true):,} forecasts",
            f"Twelve months on the rating is another one in {np.mean(ratings != true):.0%} of "
            "them. Generated text: what it adds says nothing of real news.",
            (table_of(name, found, scores),),
            # In a short run few months are both.
            checks=() if options.quick and name == BOTH else _checks(name, found, scores),
            results={name.replace(" ", "_"): to_json(found, scores)},
        )
    yield _pictures(generated, whole, judged["unseen countries"], options.folder, budget)


def check(options: argparse.Namespace, rows: int) -> None:
    """Refuse worlds that are too small, before any work."""
    if options.countries < 20 or options.years < 10:
        raise InputError(
            f"{options.countries} countries over {options.years} years are too few to hold some "
            "out; take at least 20 countries and 10 years"
        )
    months = options.countries * options.years * 12
    if rows < months:
        raise InputError(
            f"{rows:,} headlines are less than one in each of {months:,} months of countries; take "
            f"--rows {months} or more, or fewer --countries or --years"
        )
    check_training(options, rows // 3)


def judged_months(generated: Generated) -> dict[str, np.ndarray]:
    """Return the months that judge, by what is held out in them, (countries, months) bool."""
    split = generated.split
    return {
        "unseen countries": months_of(split.unseen, generated),
        "later years": months_of(split.later, generated, split.first_later),
        BOTH: months_of(split.unseen, generated, split.first_later),
    }


def _plain(generated: Generated, judged: Mapping[str, np.ndarray]) -> dict[str, list[Forecast]]:
    """Return what plain methods on the figures foretell, by what judges them."""
    figures, ratings = generated.figures, generated.world.ratings[:, :-AHEAD]
    learned = months_of(generated.split.learned, generated)
    labels = generated.labels[learned].astype(np.int64)
    given = [figures[which] for which in judged.values()]
    found: dict[str, list[Forecast]] = {name: [] for name in judged}
    with progress("learn by plain methods"):
        for title, method in plain.METHODS.items():
            answers, seconds = plain.timed(method, figures[learned], labels, CLASSES, given)
            for (name, which), likely in zip(judged.items(), answers, strict=True):
                moved = ratings_from_movements(likely, ratings[which], NOTCHES)
                found[name].append(Forecast(title, moved, seconds))
    return found


def _checks(name: str, forecasts: Sequence[Forecast], scores: Sequence[Score]) -> tuple[Check, ...]:
    by_name = {each.name: found for each, found in zip(forecasts, scores, strict=True)}
    whole, alone, best, last = by_name[WHOLE], by_name[ALONE], by_name[BEST], scores[0]
    added, above = (100 * (whole.exact - other.exact) for other in (alone, last))
    return (
        at_least(f"{name}: points of exact forecasts that text adds", added, ADDED),
        at_least(f"{name}: points of exact forecasts above the last rating's", above, 0.0),
        at_least(f"{name}: exact forecasts, of the best possible", whole.exact / best.exact,
                 OF_BEST),
        at_least(f"{name}: AUROC of a change in twelve months", whole.change_auc, CHANGE_AUC),
    )  # fmt: skip


def _pictures(
    generated: Generated, whole: Reading, unseen: np.ndarray, folder: Path, budget: int
) -> Section:
    world, split, results = generated.world, generated.split, whole.run.results
    ratings = world.ratings[:, :-AHEAD]
    moved = whole.likely(np.ones(ratings.shape, bool))
    likely = ratings_from_movements(moved, ratings.reshape(-1), NOTCHES)
    likely = likely.reshape(*ratings.shape, NOTCHES)
    countries = np.array(split.unseen.countries)
    low, high = interval_of(likely[unseen], INTERVAL)
    true = world.ratings[:, AHEAD:][unseen]
    held = float(np.mean((low <= true) & (true <= high)))
    pictures = (
        draw_confusion(likely[unseen], true, "unseen countries"),
        draw_forecasts(likely, world.ratings, countries, split.first_later),
        draw_weights(*whole.parts(), world.ratings, countries, split.first_later),
    )
    for each in pictures:
        each.save(folder)
    weights = ", ".join(f"{weight:.2f}" for weight in whole.blend.weights)
    return Section(
        f"{results['rows']:,} headlines learned from",
        f"{results['rows_per_second']:,.0f} rows/s, memory peak "
        f"{format_size(results['memory_peak_bytes'])}. Weights of the figures' score, and of the "
        f"headlines of six months, latest first, fitted to {len(split.choosing.countries)} other "
        f"countries: {weights}. {INTERVAL:.0%} intervals, which end at whole notches, hold "
        f"{held:.1%} of the ratings of unseen countries.",
        pictures=pictures,
        checks=(
            at_least(f"share of ratings inside {INTERVAL:.0%} intervals", held, INTERVAL - 0.05),
            inside_budget(results["memory_peak_bytes"], budget),
        ),
        results={"training": dict(results), "blend": whole.blend.weights.tolist()},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status."""
    parser = Parser("sovereign_rating", str(__doc__), QUICK)
    parser.add_argument("--rows", default="1.44M", help="headlines of 193 bytes each")
    parser.add_argument("--countries", type=int, default=150, help="of the generated world")
    parser.add_argument("--years", type=int, default=40, help="of the generated world")
    for name, text in (
        ("--csv", "a table of one's own: country, date, indicators, rating"),
        ("--columns", "TOML file that says which column is what, and every publication lag"),
    ):
        parser.add_argument(name, type=Path, metavar="FILE", default=argparse.SUPPRESS, help=text)
    parser.add_argument(
        "--split", default=argparse.SUPPRESS,
        help="of one's own table: by unseen countries or later years; by both if not given",
    )  # fmt: skip
    parser.set_defaults(csv=None, columns=None, split=None)
    add_data_options(parser, "rating-data", "1GiB")
    add_training_options(parser, 256)
    parser.set_defaults(lr=2e-2)
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
