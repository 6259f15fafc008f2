"""ROC curves, and what the network found beside what there is to be found."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.common.figures import Picture, new_figure, picture
from pipelines.particles.model import Classifier


def roc(log_odds: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return efficiency of signal and rejection of background at 1,000 cuts."""
    efficiency = np.linspace(0.01, 0.99, 1000)
    cuts = np.quantile(log_odds[labels == 1], 1 - efficiency)
    background = np.sort(log_odds[labels == 0])
    kept = len(background) - np.searchsorted(background, cuts)
    return efficiency, 1 / np.maximum(kept / len(background), 1 / len(background))


def draw(classifiers: Sequence[Classifier], labels: np.ndarray) -> Picture:
    """Draw the ROC curves of three classifiers, and the last one's log-odds against the true."""
    figure = new_figure(13, 5.2)
    left, right = figure.subplots(1, 2)
    styles: tuple[dict[str, Any], ...] = (
        {"color": "black", "linewidth": 4, "alpha": 0.3},
        {"color": "tab:blue", "linestyle": "--"},
        {"color": "tab:red"},
    )
    for each, style in zip(classifiers, styles, strict=True):
        left.plot(*roc(each.log_odds, labels), label=f"{each.name}: AUC {each.auc:.4f}", **style)
    left.set_yscale("log")
    left.set_xlabel("share of signal that is kept")
    left.set_ylabel("background events for one that is kept")
    left.set_title(f"{len(labels):,} events held out: higher is better")
    left.legend()
    left.grid(alpha=0.3)
    best, network = classifiers[0], classifiers[-1]
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
    return picture(
        figure,
        "particles",
        "ROC curves, and the network's log-odds against the true ones.",
        "The network's curve is near that of the likelihood ratio and above that of logistic "
        "regression.",
    )
