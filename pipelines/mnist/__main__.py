"""Handwritten digits: 8,000 become millions of rows on disk, and a model learns from them.

2,000 of the 10,000 MNIST test digits are held out. The others are shifted, turned, scaled and made
noisy at random into a Zarr that may be larger than memory. What softmax, or a multilayer perceptron
with ``--model mlp``, learns from it out of core is compared with what scikit-learn's
LogisticRegression learns from the 8,000 in memory, and the perceptron with the same network in
PyTorch on the same batches.
"""

import argparse
import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mnist_torch
import numpy as np
from mnist_digits import (
    AUGMENTATION,
    CLASSES,
    IMAGES,
    LABELS,
    Digits,
    digits_folder,
    expand,
    hold_out,
    load_digits,
    notes,
    split,
)

import ooc
from ooc.cli.models import widths
from ooc.cli.progress_bar import ProgressDisplay
from ooc.core.errors import DivergedError, InputError
from ooc.core.process import peak_bytes
from ooc.core.sizes import format_size, parse_count
from ooc.models import MLP, Model, Softmax
from ooc.store.dataset import Dataset
from ooc.stream.plan import budget_of
from ooc.training.trainer import Trainer

MODELS = ("softmax", "mlp")
CHOICES_OF_C = (0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Score:
    """How well the held-out digits are read by one way of learning."""

    name: str
    learned_from: str
    seconds: float
    loss: float
    accuracy: float


def open_or_make(path: Path, expected: Mapping[str, Any], make: Callable[[], None]) -> Dataset:
    """Open a Zarr, made first if it is not there; an InputError if its notes are not expected."""
    if not path.exists():
        make()
    dataset = ooc.open(path)
    for name, value in expected.items():
        if (found := dataset.attributes.get(name)) != value:
            raise InputError(
                f"{path} was made with {name} {found}, not {value}; remove it, or choose another "
                "folder with --folder"
            )
    return dataset


def learn_in_memory(training: Digits, held_out: Digits) -> Score:
    """Score scikit-learn's LogisticRegression, its C chosen on a fifth of the training digits."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    def fitted(digits: Digits, c: float) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=1000).fit(_flat(digits), digits.labels)

    begun = time.perf_counter()
    fifth = len(training.labels) // 5
    validation, rest = training.take(slice(fifth)), training.take(slice(fifth, None))
    x, y = _flat(validation), validation.labels
    best = max(CHOICES_OF_C, key=lambda c: fitted(rest, c).score(x, y))
    model = fitted(training, best)
    seconds = time.perf_counter() - begun
    x, y = _flat(held_out), held_out.labels
    loss = log_loss(y, model.predict_proba(x), labels=model.classes_)
    learned_from = f"{len(training.labels):,} digits in memory"
    return Score(f"scikit-learn, C={best:g}", learned_from, seconds, loss, model.score(x, y))


def learn_with_torch(
    trainer: Trainer, expanded: Dataset, epochs: int, held_out: Digits
) -> list[Score]:
    """Score the same network in PyTorch; nothing where it is not installed."""
    print("PyTorch learns from the same batches", file=sys.stderr)
    try:
        scores = mnist_torch.train_and_score(
            trainer, expanded, epochs, held_out.images, held_out.labels
        )
    except ModuleNotFoundError:
        print("PyTorch is not installed: pip install '.[torch]'", file=sys.stderr)
        return []
    return [Score("PyTorch mlp", "the same batches", *scores)]


def make_model(options: argparse.Namespace) -> Model:
    """Return the model that the options name, for bytes of grey."""
    if options.model == "softmax":
        return Softmax(classes=CLASSES, scale=1 / 255)
    return MLP(
        hidden=widths(options.hidden),
        dropout=options.dropout,
        head="multiclass",
        outputs=CLASSES,
        scale=1 / 255,
    )


def draw_confusion(path: Path, labels: np.ndarray, predictions: np.ndarray) -> None:
    """Draw how often each digit is read as each other, as a PNG: only mistakes are coloured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    right = np.diag(counts)
    mistakes = counts - np.diag(right)
    most = max(1, mistakes.max())
    worst = np.argsort(-mistakes, axis=None, kind="stable")[:3].tolist()
    named = [f"{cell // 10} as {cell % 10} ({mistakes.flat[cell]})" for cell in worst]

    figure = Figure(figsize=(8.4, 7.1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(np.ma.masked_equal(mistakes, 0), cmap="YlOrRd", vmin=0, vmax=most)
    axes.imshow(np.ma.masked_equal(np.eye(CLASSES), 0), cmap="Greys", vmin=0, vmax=7)
    for (digit, read_as), count in np.ndenumerate(counts):
        colour = "white" if mistakes[digit, read_as] > 0.6 * most else "black"
        text = str(count or "")
        axes.text(read_as, digit, text, ha="center", va="center", color=colour, fontsize=12)
    shares = right / np.maximum(counts.sum(axis=1), 1)
    axes.set_yticks(range(CLASSES), [f"{k}  ({share:.0%} right)" for k, share in enumerate(shares)])
    axes.set_xticks(range(CLASSES))
    axes.set_xlabel("digit that it is read as")
    axes.set_ylabel("true digit")
    axes.set_title(
        f"Accuracy {right.sum() / len(labels):.4f} on {len(labels):,} held-out digits\n"
        f"most often misread: {', '.join(named)}"
    )
    figure.colorbar(image, ax=axes, label="misread digits", shrink=0.75)
    figure.savefig(path, dpi=120)


def run(options: argparse.Namespace) -> None:
    """Expand, train, evaluate, compare, draw and print."""
    rows, seed, memory = parse_count(options.rows), options.seed, options.memory
    budget, optimizer = budget_of(memory), ooc.optim.adam(options.lr)
    if options.epochs < 1 or not 1 <= options.batch_size <= rows:
        raise InputError(
            f"{options.epochs} epochs with batches of {options.batch_size} are not possible: both "
            f"must be at least 1, and a batch at most the {rows:,} rows"
        )
    model = make_model(options)
    training, held_out = split(load_digits(digits_folder()), seed)
    expanded_path = options.folder / f"expanded-{rows}-seed{seed}.zarr"
    unseen_path = options.folder / f"held-out-seed{seed}.zarr"

    def write_expanded() -> None:
        with ProgressDisplay("expand") as report:
            expand(expanded_path, training, rows, seed, report=report)

    def write_unseen() -> None:
        hold_out(unseen_path, held_out, seed)

    unseen = open_or_make(unseen_path, notes(held_out, seed, None), write_unseen)
    begun, reused = time.perf_counter(), expanded_path.exists()
    expanded = open_or_make(expanded_path, notes(training, seed, AUGMENTATION), write_expanded)
    expansion = "used again" if reused else f"{time.perf_counter() - begun:.1f} s"

    trainer = Trainer(model, optimizer, options.batch_size, memory, seed)
    run_folder = options.folder / f"{model.name}-run"
    picture = options.folder / f"{model.name}-confusion.png"
    shutil.rmtree(run_folder, ignore_errors=True)
    with ProgressDisplay("train") as report:
        trained = trainer.fit(expanded, options.epochs, run_folder, report)
    with ProgressDisplay("evaluate") as report:
        measured = trained.evaluate(unseen, memory, report)
    draw_confusion(picture, held_out.labels, trained.predict(unseen, memory=memory))
    results = trained.results
    learned_from, seconds = f"{rows:,} rows out of core", results["seconds"]
    scores = [
        Score(f"ooc {model.name}", learned_from, seconds, measured["loss"], measured["accuracy"])
    ]
    if model.name == "mlp":
        scores += learn_with_torch(trainer, expanded, options.epochs, held_out)
    scores.append(learn_in_memory(training, held_out))
    _print_table(scores, len(held_out.labels))
    print(f"expansion  {expansion}")
    print(f"training   {results['rows_per_second']:,.0f} rows/s, {results['steps']:,} steps")
    sizes = [results["memory_peak_bytes"], results["memory_projected_bytes"], budget, peak_bytes()]
    peak, projected, allowed, whole = map(format_size, sizes)
    print(f"memory     peak {peak} of {allowed} (projected {projected}), with the peers {whole}")
    print(f"saved      {run_folder}, {picture}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status, 2 for bad input."""
    parser = argparse.ArgumentParser(
        description="Expand MNIST digits to any number of rows and train a model on them.",
        epilog=f"OOC_REAL_DATA names the folder that holds {IMAGES} and {LABELS}.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", choices=MODELS, default="softmax", help="what learns")
    parser.add_argument("--hidden", default="512,256", help="units of the layers of mlp")
    parser.add_argument("--dropout", type=float, default=0.0, help="share that mlp drops")
    parser.add_argument("--rows", default="4M", help="rows to expand to, of 789 bytes each")
    parser.add_argument("--memory", default="1GiB", help="bytes to train and evaluate in")
    parser.add_argument("--folder", type=Path, default=Path("mnist-data"), help="for all results")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the rows")
    parser.add_argument("--batch-size", type=int, default=256, help="rows of a step")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of Adam")
    parser.add_argument("--seed", type=int, default=0, help="everything random is a function of it")
    options = parser.parse_args(arguments)
    try:
        run(options)
    except (InputError, DivergedError) as error:
        print(f"mnist: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _flat(digits: Digits) -> np.ndarray:
    return digits.images.reshape(len(digits.images), -1) / np.float32(255)


def _print_table(scores: Sequence[Score], digits: int) -> None:
    print(f"{'':<22}{'learned from':<28}{'seconds':>8}{'log loss':>10}{'accuracy':>10}")
    for each in scores:
        numbers = f"{each.seconds:>8.1f}{each.loss:>10.4f}{each.accuracy:>10.4f}"
        print(f"{each.name:<22}{each.learned_from:<28}{numbers}")
    accuracy = scores[0].accuracy
    error = math.sqrt(accuracy * (1 - accuracy) / digits)
    print(f"on {digits:,} digits held out; the standard error of the accuracy is {error:.4f}\n")


if __name__ == "__main__":
    sys.exit(main())
