"""The network of figures and headlines: trained out of core, and asked about whole months.

It learns from single headlines, each beside the figures of its month. Asked without any headline it
tells what the figures say alone; how much a headline moves that score, on average over those of a
month, is the month's news. A forecast blends the figures' score with the news of six months.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ooc
from ooc.runs.run import Run
from pipelines.common.dataset import Dataset, open_or_make, progress, write
from pipelines.sovereign_rating.blend import Blend, fit
from pipelines.sovereign_rating.data import CLASSES, FIELDS, Generated, Part, notes
from pipelines.sovereign_rating.headlines import LENGTH, PADDING

NEWS_MONTHS = 6  # of news that a forecast looks at
PIECE_ROWS = 65_536
EVALUATIONS = 10  # of a run


@dataclass(frozen=True)
class Training:
    """How a network is trained, and how large it is."""

    epochs: int
    batch_size: int
    lr: float
    memory: str
    seed: int
    width: int = 16
    figure_hidden: tuple[int, ...] = (32,)
    hidden: tuple[int, ...] = (32,)


@dataclass(frozen=True)
class Reading:
    """What a network says of every month, and how that becomes a forecast.

    Attributes
    ----------
    figures
        (countries, months) score without any headline.
    news
        (countries, months) how much headlines move it, or None for figures alone.
    blend
        Fitted to the countries that choose.
    run
        What training left.
    """

    figures: np.ndarray
    news: np.ndarray | None
    blend: Blend
    run: Run

    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what figures and news add to the forecast's score, (countries, months) each."""
        weights = self.blend.weights
        if self.news is None:
            return self.figures * weights[0], np.zeros_like(self.figures)
        return self.figures * weights[0], np.stack(lagged(self.news), axis=-1) @ weights[1:]

    def likely(self, which: np.ndarray) -> np.ndarray:
        """Return how likely each movement is, (chosen months, classes)."""
        return self.blend.likely(columns_of(self.figures, self.news)[which])


def model_of(training: Training, vocabulary: int, branches: str) -> ooc.models.EmbeddingMLP:
    """Return the network with both branches, or the one of figures: "both", "figures"."""
    return ooc.models.EmbeddingMLP(
        vocabulary=vocabulary, length=LENGTH, width=training.width, tokens="tokens",
        padding=PADDING, branches=branches, figure_hidden=training.figure_hidden,
        hidden=training.hidden, head="ordinal", outputs=CLASSES,
    )  # fmt: skip


def trainer_of(generated: Generated, training: Training, branches: str) -> ooc.Trainer:
    """Return what trains it, with Adam and a rate that falls along a cosine.

    Months have many headlines and one label: after enough of them figures are known by heart. The
    countries that choose say, ten times in a run, how good it is, and the best parameters stay.
    """
    optimizer = ooc.optim.adam(training.lr, schedule=ooc.optim.schedules.cosine())
    steps = training.epochs * -(-generated.datasets["learned"].rows // training.batch_size)
    validation = ooc.Validation(generated.datasets["choosing"], every=max(1, steps // EVALUATIONS))
    return ooc.Trainer(
        model_of(training, generated.wording.vocabulary, branches), optimizer,
        training.batch_size, memory=training.memory, seed=training.seed, validation=validation,
    )  # fmt: skip


def read(generated: Generated, training: Training, branches: str, folder: Path) -> Reading:
    """Train a network on the learned part, and let it read the months of all parts."""
    run_folder = folder / f"{branches}-run"
    shutil.rmtree(run_folder, ignore_errors=True)
    trainer = trainer_of(generated, training, branches)
    with progress(f"train {branches}") as report:
        run = trainer.fit(generated.datasets["learned"], training.epochs, run_folder, report)
    quiet = quiet_months(generated, folder)
    shape = generated.labels.shape
    likely = run.predict(quiet, "probability", training.memory, report=False)
    figures = scores_of(likely).reshape(shape)
    news = None
    if branches == "both":
        with progress("read headlines") as report:
            news = _news(generated, run, figures, folder, training.memory)
    return Reading(figures, news, fit_blend(generated, figures, news), run)


def fit_blend(generated: Generated, figures: np.ndarray, news: np.ndarray | None) -> Blend:
    """Fit the weights of figures and news to the countries that choose."""
    which = months_of(generated.split.choosing, generated)
    which[:, :NEWS_MONTHS] = False
    columns = columns_of(figures, news)[which]
    return fit(columns, generated.labels[which].astype(np.int64), CLASSES)


def months_of(part: Part, generated: Generated, begin: int = 0) -> np.ndarray:
    """Return which months of countries a part has, from `begin` on, (countries, months) bool."""
    found = np.zeros(generated.labels.shape, bool)
    found[list(part.countries), max(part.begin, begin) : part.end] = True
    return found


def columns_of(figures: np.ndarray, news: np.ndarray | None) -> np.ndarray:
    """Return what is blended, (countries, months, columns)."""
    return np.stack([figures, *([] if news is None else lagged(news))], axis=-1)


def lagged(news: np.ndarray) -> Sequence[np.ndarray]:
    """Return the news of each month and of those before it; 0 before the first."""
    shifted = [np.zeros_like(news) for _ in range(NEWS_MONTHS)]
    for lag, each in enumerate(shifted):
        each[:, lag:] = news[:, : news.shape[1] - lag]
    return shifted


def scores_of(likely: np.ndarray) -> np.ndarray:
    """Return the score that cumulative logits have in common, up to a constant.

    Examples
    --------
    >>> thresholds, score = np.array([-2.0, -1.0, 1.0, 2.0]), 0.5
    >>> above = 1 / (1 + np.exp(thresholds - score))
    >>> scores_of(-np.diff(np.concatenate([[1.0], above, [0.0]]))[None])
    array([0.5])
    """
    middle = likely.shape[1] // 2
    above = np.cumsum(likely[:, ::-1].astype(np.float64), axis=1)[:, ::-1]
    kept = np.clip(above[:, middle : middle + 2], 1e-6, 1 - 1e-6)
    found: np.ndarray = np.log(kept / (1 - kept)).mean(axis=1)
    return found


def quiet_months(generated: Generated, folder: Path) -> Dataset:
    """Open the months of all countries without a headline, made first if they are not there."""
    world = generated.world
    part = Part("quiet", tuple(range(world.countries)), 0, world.months, 1)
    path = folder / f"quiet-{world.countries}x{world.months // 12}-seed{world.seed}.zarr"
    flat = generated.figures.reshape(part.rows, -1), generated.labels.reshape(-1)

    def draw(number: int, first: int, count: int) -> dict[str, np.ndarray]:
        rows = slice(first, first + count)
        tokens = np.full((count, LENGTH), PADDING, np.uint16)
        return {"tokens": tokens, "X": flat[0][rows], "y": flat[1][rows]}

    attributes = notes(part, world)
    return open_or_make(
        path, attributes, lambda report: write(path, FIELDS, attributes, part.rows, draw)
    )


def _news(
    generated: Generated, run: Run, figures: np.ndarray, folder: Path, memory: str
) -> np.ndarray:
    """Return how much headlines move the score, on average over those of each month."""
    found = np.zeros(figures.shape)
    for part in generated.split.parts:
        path = folder / f"read-{part.name}.zarr"
        shutil.rmtree(path, ignore_errors=True)
        run.predict_to(generated.datasets[part.name], path, memory, report=False)
        outputs = ooc.open(path, features="probability", target=False)
        size = min(PIECE_ROWS, part.rows)
        for batch in ooc.Loader(outputs, size, memory=memory, shuffle="none"):
            months = part.places(batch.rows)
            moved = scores_of(batch.features) - figures[months]
            np.add.at(found, months, moved / part.headlines)
        shutil.rmtree(path)
    return found
