"""The picture of what is misread as what."""

import numpy as np

from pipelines.common.figures import Picture, new_figure, picture
from pipelines.mnist.data import CLASSES


def draw_confusion(labels: np.ndarray, predictions: np.ndarray) -> Picture:
    """Draw how often each digit is read as each other: only mistakes are coloured."""
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    right = np.diag(counts)
    mistakes = counts - np.diag(right)
    most = max(1, mistakes.max())
    worst = np.argsort(-mistakes, axis=None, kind="stable")[:3].tolist()
    named = [f"{cell // 10} as {cell % 10} ({mistakes.flat[cell]})" for cell in worst]

    figure = new_figure(8.4, 7.1)
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
    return picture(
        figure,
        "confusion",
        "How often each held-out digit is read as each other.",
        f"Most often misread: {', '.join(named)}.",
    )
