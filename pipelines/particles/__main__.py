"""Collision events: a network against a linear model and against the best that is possible.

Millions of events in the shape of the HIGGS dataset are generated from densities that are known,
so that the best possible area under the ROC curve is known, too. Logistic regression and a
multilayer perceptron learn from them out of core, and all three are compared on events that
training never saw.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from particles_events import SIGNAL_SHARE, log_likelihood_ratio, write_events

import ooc
from ooc.cli.models import widths
from ooc.cli.progress_bar import ProgressDisplay
from ooc.core.errors import DivergedError, InputError
from ooc.core.sizes import format_size, parse_count
from ooc.models import MLP, Logistic, Model
from ooc.store.dataset import Dataset
from ooc.stream.plan import budget_of

PRIOR = float(np.log(SIGNAL_SHARE / (1 - SIGNAL_SHARE)))


@dataclass(frozen=True)
class Judged:
    """How well one classifier tells held-out signal from background.

    Attributes
    ----------
    log_odds
        (rows,) of signal against background.
    rows_per_second, seconds
        Of training; 0 for the likelihood ratio, which learned nothing.
    """

    name: str
    log_odds: np.ndarray
    auc: float
    loss: float
    seconds: float = 0.0
    rows_per_second: float = 0.0
    memory_peak: int = 0


def open_or_make(path: Path, rows: int, seed: int, held_out: bool) -> Dataset:
    """Open events, made first if they are not there.

    Raises
    ------
    InputError
        If what is there are other events.
    """
    if not path.exists():
        with ProgressDisplay(f"generate {path.name}") as report:
            write_events(path, rows, seed, held_out, report)
    dataset = ooc.open(path)
    if (dataset.rows, dataset.attributes.get("seed")) != (rows, seed):
        raise InputError(
            f"{path} has {dataset.rows} events of seed {dataset.attributes.get('seed')}, not "
            f"{rows} of seed {seed}; remove it, or choose another folder with --folder"
        )
    return dataset


def judge(name: str, log_odds: np.ndarray, labels: np.ndarray, **training: float) -> Judged:
    """Measure the area under the ROC curve and the mean log loss."""
    from sklearn.metrics import roc_auc_score

    scores = log_odds.astype(np.float64)
    loss = float(np.mean(np.logaddexp(0, scores) - scores * labels))
    return Judged(name, log_odds, float(roc_auc_score(labels, scores)), loss, **training)  # type: ignore[arg-type]


def learn(
    model: Model, events: Dataset, unseen: Dataset, labels: np.ndarray, options: argparse.Namespace
) -> Judged:
    """Train a model out of core, and judge it."""
    trainer = ooc.Trainer(
        model, ooc.optim.adam(options.lr), options.batch_size, options.memory, options.seed
    )
    run_folder = options.folder / f"{model.name}-run"
    shutil.rmtree(run_folder, ignore_errors=True)
    with ProgressDisplay(f"train {model.name}") as report:
        run = trainer.fit(events, options.epochs, run_folder, report)
    probability = run.predict(unseen, "probability", options.memory).astype(np.float64)
    probability = np.clip(probability, 1e-7, 1 - 1e-7)
    return judge(
        f"ooc {model.name}",
        np.log(probability / (1 - probability)),
        labels,
        seconds=run.results["seconds"],
        rows_per_second=run.results["rows_per_second"],
        memory_peak=run.results["memory_peak_bytes"],
    )


def roc(log_odds: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return efficiency of signal and rejection of background at 1,000 cuts."""
    efficiency = np.linspace(0.01, 0.99, 1000)
    cuts = np.quantile(log_odds[labels == 1], 1 - efficiency)
    background = np.sort(log_odds[labels == 0])
    kept = len(background) - np.searchsorted(background, cuts)
    return efficiency, 1 / np.maximum(kept / len(background), 1 / len(background))


def draw(path: Path, judged: Sequence[Judged], labels: np.ndarray) -> None:
    """Draw the ROC curves, and the network's log-odds against the true ones, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    best, *models = judged
    styles: tuple[dict[str, Any], ...] = (
        {"color": "black", "linewidth": 4, "alpha": 0.3},
        {"color": "tab:blue", "linestyle": "--"},
        {"color": "tab:red"},
    )
    for each, style in zip((best, *models), styles, strict=True):
        left.plot(*roc(each.log_odds, labels), label=f"{each.name}: AUC {each.auc:.4f}", **style)
    left.set_yscale("log")
    left.set_xlabel("share of signal that is kept")
    left.set_ylabel("background events for one that is kept")
    left.set_title(f"{len(labels):,} events held out: higher is better")
    left.legend()
    left.grid(alpha=0.3)
    network = next(each for each in models if "mlp" in each.name)
    edges = np.linspace(-6, 6, 121)
    counts, *_ = np.histogram2d(best.log_odds, network.log_odds, bins=(edges, edges))
    image = right.imshow(
        np.ma.masked_equal(counts.T, 0), origin="lower", extent=(-6, 6, -6, 6), norm="log"
    )
    right.plot([-6, 6], [-6, 6], color="red", linewidth=1, label="the same")
    right.set_xlabel("true log-odds of signal")
    right.set_ylabel("log-odds by the network")
    correlation = np.corrcoef(best.log_odds, network.log_odds)[0, 1]
    right.set_title(f"what the network found (correlation {correlation:.4f})")
    right.legend(loc="upper left")
    figure.colorbar(image, ax=right, label="events")
    figure.savefig(path, dpi=120)


def run(options: argparse.Namespace) -> None:
    """Generate, train, judge, draw and print."""
    rows, held_out = parse_count(options.rows), parse_count(options.held_out)
    budget_of(options.memory)
    if options.epochs < 1 or not 1 <= options.batch_size <= rows:
        raise InputError(
            f"{options.epochs} epochs with batches of {options.batch_size} are not possible: both "
            f"must be at least 1, and a batch at most the {rows:,} events"
        )
    network = MLP(hidden=widths(options.hidden))
    seed, folder = options.seed, options.folder
    unseen = open_or_make(folder / f"held-out-{held_out}-seed{seed}.zarr", held_out, seed, True)
    begun = time.perf_counter()
    events = open_or_make(folder / f"events-{rows}-seed{seed}.zarr", rows, seed, False)
    made = time.perf_counter() - begun
    stored, marks = (zarr.open_array(Path(unseen.path, name), mode="r") for name in ("X", "y"))
    labels = np.asarray(marks[:])
    parts = (np.asarray(stored[first : first + 100_000]) for first in range(0, held_out, 100_000))
    truth = np.concatenate([log_likelihood_ratio(part) for part in parts])
    judged = [judge("likelihood ratio", truth + PRIOR, labels)]
    judged += [learn(model, events, unseen, labels, options) for model in (Logistic(), network)]
    picture = folder / "particles.png"
    draw(picture, judged, labels)
    size = sum(array.row_bytes for array in events.arrays.values()) * rows
    print(f"{rows:,} events, {format_size(size)} decoded, ready after {made:.1f} s")
    print(f"{'':<20}{'AUC':>8}{'log loss':>10}{'seconds':>9}{'rows/s':>12}{'peak memory':>13}")
    for each in judged:
        line = f"{each.name:<20}{each.auc:>8.4f}{each.loss:>10.4f}"
        if each.seconds:
            line += f"{each.seconds:>9.1f}{each.rows_per_second:>12,.0f}"
            line += f"{format_size(each.memory_peak):>13}"
        print(line)
    print(f"on {held_out:,} events held out; the likelihood ratio is the best possible")
    print(f"saved {picture}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status, 2 for bad input."""
    parser = argparse.ArgumentParser(
        description="Generate collision events, and train a network and a linear model on them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rows", default="50M", help="events to train on, of 113 bytes each")
    parser.add_argument("--held-out", default="1M", help="events to judge by")
    parser.add_argument("--hidden", default="128,128,128", help="units of the network's layers")
    parser.add_argument("--memory", default="1GiB", help="bytes to train and evaluate in")
    parser.add_argument(
        "--folder", type=Path, default=Path("particles-data"), help="for all results"
    )
    parser.add_argument("--epochs", type=int, default=1, help="passes over the events")
    parser.add_argument("--batch-size", type=int, default=1024, help="events of a step")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of Adam")
    parser.add_argument("--seed", type=int, default=0, help="everything random is a function of it")
    options = parser.parse_args(arguments)
    try:
        run(options)
    except (InputError, DivergedError) as error:
        print(f"particles: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
