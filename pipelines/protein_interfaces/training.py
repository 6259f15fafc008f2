"""The pair's training by `ooc.Trainer`, and what its generator makes on the way."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.runs.run import Run
from pipelines.common.dataset import Dataset, progress
from pipelines.protein_interfaces.columns import CLASSES
from pipelines.protein_interfaces.coordinates import Coordinates
from pipelines.protein_interfaces.model import InterfacePair, optimizer
from pipelines.protein_interfaces.quality import SEEDS, Rows, discrepancy
from pipelines.protein_interfaces.sampling import ask, make_points

LOOK_ROWS = 2000


@dataclass(frozen=True)
class Training:
    """How a pair is trained.

    Attributes
    ----------
    rate, average
        Of both networks' Adam, and what the generator's average keeps of itself.
    looks
        How often what the generator makes is looked at.
    """

    epochs: int
    batch_size: int
    rate: float
    memory: str
    seed: int
    hidden: int
    latent: int
    penalty: float
    critic_steps: int
    average: float
    looks: int

    def steps(self, rows: int) -> int:
        """Return the steps of both networks together."""
        return self.epochs * -(-rows // self.batch_size)

    def every(self, rows: int) -> int:
        """Return the steps between two looks."""
        return max(1, self.steps(rows) // self.looks)

    def own_steps(self, rows: int) -> tuple[int, int]:
        """Return the steps of the critic, and of the generator."""
        whole, left = divmod(self.steps(rows), self.critic_steps + 1)
        return whole * self.critic_steps + min(left, self.critic_steps), max(whole, 1)


@dataclass(frozen=True)
class Looks:
    """What generators made on the way.

    Attributes
    ----------
    steps, seconds
        (looks,) steps of both networks, and the seconds that they took.
    mmds
        (looks,) maximum mean discrepancies from training rows.
    shares
        (looks, 9) of the classes that are recognised.
    """

    steps: np.ndarray
    seconds: np.ndarray
    mmds: np.ndarray
    shares: np.ndarray

    def seconds_to(self, mmd: float) -> float:
        """Return after how many seconds a discrepancy was reached for good, NaN if it was not."""
        above = np.flatnonzero(self.mmds > mmd)
        first = above[-1] + 1 if len(above) else 0
        return float(self.seconds[first]) if first < len(self.mmds) else float("nan")


@dataclass(frozen=True)
class Eye:
    """What looks at generators: training rows, and what recognises classes in coordinates.

    Attributes
    ----------
    points
        (rows, 59) coordinates of training rows.
    conditions
        (9, 2), what is asked for, see `pipelines.protein_interfaces.data.conditions_of`.
    """

    points: np.ndarray
    conditions: np.ndarray
    recogniser: Any
    seed: int

    def look(self, model: InterfacePair, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the discrepancy of made rows from training rows, and the classes' shares."""
        labels, stable = ask(self.conditions, LOOK_ROWS, self.seed)
        made = np.concatenate(list(make_points(model, parameters, labels, stable, self.seed)))
        seen = self.recogniser.predict(made)
        shares = np.bincount(seen, minlength=len(CLASSES)) / len(made)
        return discrepancy(self.points, made.astype(np.float32)), shares


def eye_of(
    coordinates: Coordinates, known: Rows, conditions: np.ndarray, recogniser: Any, seed: int
) -> Eye:
    """Return what looks at generators while they are trained."""
    points = coordinates.of_rows(known.values[:LOOK_ROWS], SEEDS[0]).astype(np.float32)
    return Eye(points, conditions, recogniser, seed)


class Watch:
    """Looks every so many steps, off the clock, which starts when it is made."""

    def __init__(self, look: Callable[[np.ndarray], tuple[float, np.ndarray]]) -> None:
        self._look, self._away = look, 0.0
        self._begun = time.perf_counter()
        self._found: list[tuple[int, float, float, np.ndarray]] = []

    def note(self, step: int, parameters: np.ndarray) -> None:
        """Look at parameters after a step."""
        now = time.perf_counter()
        mmd, shares = self._look(parameters)
        self._found.append((step, now - self._begun - self._away, mmd, shares))
        self._away += time.perf_counter() - now

    def looks(self, seconds: float | None = None) -> Looks:
        """Return what was seen; of a run that took so many seconds, looks included, if given.

        What the clock has beyond them came before the first step.
        """
        found = Looks(*(np.array(each) for each in zip(*self._found, strict=True)))
        before = 0.0 if seconds is None else found.seconds[-1] + self._away - seconds
        return replace(found, seconds=np.maximum(found.seconds - max(before, 0.0), 0.0))


def model_of(coordinates: Coordinates, training: Training, rows: int) -> InterfacePair:
    """Return the pair, with what takes the critic's steps for so many rows."""
    given = coordinates
    return InterfacePair(
        given.edges, given.starts, given.shift, given.factor,
        training.hidden, training.latent, training.penalty, training.critic_steps,
        training.rate, training.own_steps(rows)[0],
    )  # fmt: skip


def train(
    dataset: Dataset, model: InterfacePair, training: Training, eye: Eye, folder: Path
) -> tuple[Run, Looks]:
    """Train the pair on the stream; the run keeps the average of the generator."""
    run_folder = folder / "pair-run"
    shutil.rmtree(run_folder, ignore_errors=True)
    chosen = optimizer(training.rate, training.own_steps(dataset.rows)[1], training.average)
    trainer = ooc.Trainer(
        model, chosen, training.batch_size, memory=training.memory, seed=training.seed
    )
    watch = Watch(lambda parameters: eye.look(model, parameters))
    every = training.every(dataset.rows)

    callbacks = ooc.Callbacks(step_end=lambda now: watch.note(now.step, now.solution), every=every)
    with progress("train the pair") as report:
        run = trainer.fit(dataset, training.epochs, run_folder, report, callbacks=callbacks)
    return run, watch.looks(run.results["seconds"])
