"""Collision events: a network against a linear model and against the best that is possible.

Millions of events in the shape of the HIGGS dataset are generated from densities that are known,
so that the best possible area under the ROC curve is known, too. Logistic regression and a
multilayer perceptron learn from them out of core, and all three are compared on events that
training never saw.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

import ooc
from ooc.core.sizes import format_size, parse_count
from pipelines.common.arguments import (
    Parser,
    add_data_options,
    add_training_options,
    check_memory,
    check_training,
    widths,
)
from pipelines.common.checks import Check, at_least, at_most, inside_budget
from pipelines.common.command import carry_out
from pipelines.common.dataset import Dataset, decoded_bytes, open_or_make
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.particles.data import write_events
from pipelines.particles.figures import draw
from pipelines.particles.model import Classifier, best_possible, learn

QUICK = {
    "rows": "120k",
    "held_out": "40k",
    "hidden": "64,64",
    "epochs": 2,
    "batch_size": 128,
    "lr": 3e-3,
}
# Areas under the ROC curve: how far the network is to be above the linear model, and how far it
# may be below the best possible one.
AHEAD, BEHIND, QUICK_AHEAD, QUICK_BEHIND = 0.15, 0.01, 0.08, 0.1


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Generate, train, score, draw."""
    rows, held_out = parse_count(options.rows), parse_count(options.held_out)
    budget = check_memory(options.memory)
    check_training(options, rows)
    models = (ooc.models.Logistic(), ooc.models.MLP(hidden=widths(options.hidden)))

    unseen = open_events(options, "held-out", held_out)
    begun = time.perf_counter()
    events = open_events(options, "events", rows)
    made = time.perf_counter() - begun

    best, labels = best_possible(unseen)
    trained = []
    for model in models:
        optimizer = ooc.optim.adam(options.lr)
        trainer = ooc.Trainer(
            model, optimizer, options.batch_size, memory=options.memory, seed=options.seed
        )
        trained.append(learn(trainer, events, unseen, labels, options.epochs, options.folder))
    classifiers = (best, *trained)
    picture = draw(classifiers, labels)
    picture.save(options.folder)
    yield Section(
        f"{held_out:,} events held out",
        f"The likelihood ratio is the best possible. {rows:,} events to learn from, "
        f"{format_size(decoded_bytes(events))} decoded, were ready after {made:.1f} s.",
        (_table(classifiers),),
        (picture,),
        _checks(best, trained[0], trained[1], budget, options.quick),
        {"classifiers": [_numbers(each) for each in classifiers]},
    )


def open_events(options: argparse.Namespace, name: str, rows: int) -> Dataset:
    """Open events, made first if they are not there."""
    seed = options.seed
    path = options.folder / f"{name}-{rows}-seed{seed}.zarr"
    return open_or_make(
        path,
        {"rows": rows, "seed": seed},
        lambda report: write_events(path, rows, seed, name == "held-out", report),
    )


def _table(classifiers: Sequence[Classifier]) -> Table:
    rows = []
    for each in classifiers:
        cells, done = (each.name, f"{each.auc:.4f}", f"{each.loss:.4f}"), each.training
        if done is None:
            rows.append((*cells, "", "", ""))
        else:
            rate, peak = f"{done.rows_per_second:,.0f}", format_size(done.memory_peak)
            rows.append((*cells, f"{done.seconds:.1f}", rate, peak))
    head = ("", "AUC", "log loss", "seconds", "rows/s", "peak memory")
    return Table("classifiers", head, tuple(rows))


def _checks(
    best: Classifier, linear: Classifier, network: Classifier, budget: int, quick: bool
) -> tuple[Check, ...]:
    peaks = [each.training.memory_peak for each in (linear, network) if each.training]
    ahead, behind = (QUICK_AHEAD, QUICK_BEHIND) if quick else (AHEAD, BEHIND)
    return (
        at_least("AUC of the network, less that of the line", network.auc - linear.auc, ahead),
        at_most("AUC that is possible, less that of the network", best.auc - network.auc, behind),
        at_least("log loss of the network, less the least", network.loss - best.loss, 0.0),
        inside_budget(max(peaks), budget),
    )


def _numbers(each: Classifier) -> dict[str, object]:
    training = vars(each.training) if each.training else {}
    return {"name": each.name, "auc": each.auc, "log_loss": each.loss, **training}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status."""
    parser = Parser("particles", str(__doc__), QUICK)
    parser.add_argument("--rows", default="50M", help="events to train on, of 113 bytes each")
    parser.add_argument("--held-out", default="1M", help="events to judge by")
    parser.add_argument("--hidden", default="128,128,128", help="units of the network's layers")
    add_data_options(parser, "particles-data", "1GiB")
    add_training_options(parser, 1024)
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
