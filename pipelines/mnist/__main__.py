"""Handwritten digits: 8,000 become millions of rows on disk, and a model learns from them.

2,000 of the 10,000 MNIST test digits are held out. The others are shifted, turned, scaled and made
noisy at random into a Zarr that may be larger than memory. What softmax, or a multilayer perceptron
with --model mlp, learns from it out of core is compared with what scikit-learn's
LogisticRegression learns from the 8,000 in memory, and the perceptron with the same network in
PyTorch on the same batches.
"""

import argparse
import math
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
)
from pipelines.common.checks import Check, at_least, inside_budget
from pipelines.common.command import carry_out
from pipelines.common.dataset import open_or_make
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.mnist.data import (
    AUGMENTATION,
    IMAGES,
    LABELS,
    digits_folder,
    expand,
    hold_out,
    load_digits,
    notes,
    split,
)
from pipelines.mnist.figures import draw_confusion
from pipelines.mnist.model import NAMES, Learned, Score, learn, make_model
from pipelines.mnist.peers import learn_in_memory, learn_with_torch

QUICK = {"rows": "40k", "lr": 4e-3}
CHOICES_OF_C, QUICK_CHOICES = (0.03, 0.1, 0.3, 1.0), (0.03,)
FEWEST_RIGHT = {"softmax": 0.88, "mlp": 0.95}
QUICK_FEWEST_RIGHT = {"softmax": 0.88, "mlp": 0.9}
BEHIND = 0.02  # at most, of scikit-learn


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Expand, train, evaluate, draw, compare."""
    rows, seed, folder = parse_count(options.rows), options.seed, options.folder
    budget, optimizer = check_memory(options.memory), ooc.optim.adam(options.lr)
    check_training(options, rows)
    model = make_model(options.model, options.hidden, options.dropout)
    training, held_out = split(load_digits(digits_folder()), seed)

    path = folder / f"held-out-seed{seed}.zarr"
    expected = notes(held_out, seed, None)
    unseen = open_or_make(path, expected, lambda _: hold_out(path, held_out, seed))
    large = folder / f"expanded-{rows}-seed{seed}.zarr"
    begun, reused = time.perf_counter(), large.exists()
    expanded = open_or_make(
        large,
        {**notes(training, seed, AUGMENTATION), "rows": rows},
        lambda report: expand(large, training, rows, seed, report=report),
    )
    expansion = "used again" if reused else f"{time.perf_counter() - begun:.1f} s"

    trainer = ooc.Trainer(model, optimizer, options.batch_size, memory=options.memory, seed=seed)
    learned = learn(trainer, expanded, unseen, options.epochs, folder / f"{model.name}-run")
    picture = draw_confusion(held_out.labels, learned.predictions)
    picture.save(folder)

    peers = []
    if model.name == "mlp":
        peers += learn_with_torch(trainer, expanded, options.epochs, held_out)
    choices = QUICK_CHOICES if options.quick else CHOICES_OF_C
    fewest = QUICK_FEWEST_RIGHT if options.quick else FEWEST_RIGHT
    peers.append(learn_in_memory(training, held_out, choices))
    scores = (learned.score, *peers)
    yield Section(
        f"{len(held_out.labels):,} digits held out",
        f"Expansion: {expansion}. Training: {learned.rows_per_second:,.0f} rows/s, "
        f"{learned.steps:,} steps, memory peak {format_size(learned.memory_peak)}.",
        (_table(scores, len(held_out.labels)),),
        (picture,),
        _checks(learned, peers[-1], fewest[model.name], budget),
        {"scores": [vars(score) for score in scores], "expansion": expansion},
    )


def _table(scores: Sequence[Score], digits: int) -> Table:
    accuracy = scores[0].accuracy
    error = math.sqrt(accuracy * (1 - accuracy) / digits)
    rows = []
    for each in scores:
        numbers = (f"{each.seconds:.1f}", f"{each.loss:.4f}", f"{each.accuracy:.4f}")
        rows.append((each.name, each.learned_from, *numbers))
    title = f"log loss and accuracy, whose standard error is {error:.4f}"
    return Table(title, ("", "learned from", "seconds", "log loss", "accuracy"), tuple(rows))


def _checks(learned: Learned, in_memory: Score, fewest: float, budget: int) -> tuple[Check, ...]:
    accuracy = learned.score.accuracy
    ahead = accuracy - in_memory.accuracy
    return (
        at_least(f"accuracy of {learned.score.name}", accuracy, fewest),
        at_least(f"its accuracy, less that of {in_memory.name}", ahead, -BEHIND),
        inside_budget(learned.memory_peak, budget),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status."""
    parser = Parser("mnist", str(__doc__), QUICK)
    parser.epilog = f"OOC_REAL_DATA names the folder that holds {IMAGES} and {LABELS}."
    parser.add_argument("--model", choices=NAMES, default="softmax", help="what learns")
    parser.add_argument("--hidden", default="512,256", help="units of the layers of mlp")
    parser.add_argument("--dropout", type=float, default=0.0, help="share that mlp drops")
    parser.add_argument("--rows", default="4M", help="rows to expand to, of 789 bytes each")
    add_data_options(parser, "mnist-data", "1GiB")
    add_training_options(parser, 256)
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
