"""Two densities from two halves of the images, in poses that are known."""

import gc
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import fft

import ooc
from ooc.core.errors import DataError, InputError, TooSmallError
from ooc.core.process import give_back_freed
from ooc.core.sizes import format_size
from ooc.kernels.share import Numbers
from ooc.store.columns import pieces_of, used_pieces
from ooc.stream.plan import budget_of
from ooc.training.watchers.callbacks import Situation
from pipelines.common.dataset import Dataset, progress
from pipelines.cryo_em.kernel import add_curvature
from pipelines.cryo_em.model import FURTHER, ROTATION, Density
from pipelines.cryo_em.optics import OPTICS
from pipelines.cryo_em.poses import first_bad_rotation

# Images from which the noise is estimated, and poses from which the curvature is.
NOISE_ROWS, CURVATURE_ROWS = 2000, 20_000
# For each voxel of the padded box, while a run is looked at: its transform, forth and back.
LOOK_BYTES = 24


@dataclass(frozen=True)
class Training:
    """How a density is learned.

    Attributes
    ----------
    rate
        Of the first step. The rate of step t is 1/(1/rate + t), so that with curvatures as scales a
        density is about the mean of what all batches say, and of 1/rate - 1 empty ones. With rates
        near 1 the first batches, whose curvature is far from the mean, would count too much.
    """

    epochs: int
    batch_size: int
    rate: float
    memory: str
    seed: int


@dataclass(frozen=True)
class Look:
    """A density on the way.

    Attributes
    ----------
    epochs, seconds
        Passes over the images so far, and the time that they took.
    volume
        (box,)*3 float32.
    """

    epochs: float
    seconds: float
    volume: np.ndarray


@dataclass(frozen=True)
class Half:
    """What one half of the images came to: looks, the last at the end, and the run's results."""

    looks: tuple[Look, ...]
    results: dict[str, Any]

    @property
    def volume(self) -> np.ndarray:
        """The density in the end."""
        return self.looks[-1].volume


def check_images(dataset: Dataset, further: Sequence[str] = FURTHER) -> tuple[int, float]:
    """Return box and pixel of a store of particles, whose poses are all looked at.

    Parameters
    ----------
    further
        The arrays beside the images that are needed: without poses, optics alone.

    Raises
    ------
    InputError
        If it lacks an array or the pixel size, or images are not square.
    DataError
        If a pose is no rotation, or optics are not finite; with its row.
    """
    shape = dataset.arrays[dataset.features].shape[1:]
    if len(shape) != 2 or shape[0] != shape[1]:
        raise InputError(
            f"{dataset.path} has images of shape {shape}, and they must be square; crop them"
        )
    for name, row in zip(FURTHER, ((3, 3), (2,), (len(OPTICS),)), strict=True):
        if name in further and (
            name not in dataset.arrays or dataset.arrays[name].shape[1:] != row
        ):
            raise InputError(
                f"{dataset.path} has no array {name!r} with rows of shape {row}; write it beside "
                "the images"
            )
    pixel = dataset.attributes.get("pixel")
    if not isinstance(pixel, int | float) or not pixel > 0:
        raise InputError(
            f"{dataset.path} has no pixel size: its attribute 'pixel' is {pixel}; set it, in A"
        )
    for first, _, values in pieces_of(dataset, further):
        bad = first_bad_rotation(values[ROTATION]) if ROTATION in further else -1
        if bad >= 0:
            raise DataError(
                f"row {first + bad} of array rotation of {dataset.path} is no rotation: "
                f"{values[ROTATION][bad].round(3).tolist()}; mend it"
            )
        for name in [each for each in further if each != ROTATION]:
            finite = np.isfinite(values[name]).all(axis=1)
            if not finite.all():
                bad = int(np.argmin(finite))
                raise DataError(
                    f"row {first + bad} of array {name} of {dataset.path} is not finite: "
                    f"{values[name][bad].tolist()}; mend it"
                )
    return shape[0], float(pixel)


def noise_of(dataset: Dataset) -> np.ndarray:
    """Return the noise's variance in each ring, from the corners of some images, (rings,)."""
    box = dataset.arrays[dataset.features].shape[1]
    along = np.arange(box) - box // 2
    corners = (np.hypot(along[:, None], along) > 0.48 * box).astype(np.float64)
    power, seen = np.zeros((box, box // 2 + 1)), 0
    for _, _, values in pieces_of(dataset, [dataset.features]):
        images = values[dataset.features][: NOISE_ROWS - seen]
        means = (images * corners).sum(axis=(1, 2), keepdims=True) / corners.sum()
        power += (np.abs(fft.rfft2((images - means) * corners)) ** 2).sum(axis=0)
        seen += len(images)
        if seen >= NOISE_ROWS:
            break
    rings = np.rint(np.hypot(fft.fftfreq(box, 1 / box)[:, None], fft.rfftfreq(box, 1 / box)))
    rings = rings.astype(np.int64).reshape(-1)
    counts = np.bincount(rings)[: box // 2 + 1]
    found: np.ndarray = np.bincount(rings, power.reshape(-1))[: box // 2 + 1] / counts
    found /= seen * corners.sum()
    # The mean that was taken away is of frequency 0.
    found[0] = found[1]
    if not (np.isfinite(found).all() and found.min() > 0):
        raise InputError(f"{dataset.path} has images without noise in their corners")
    return found


def curvature_of(dataset: Dataset, model: Density, most_rows: int = CURVATURE_ROWS) -> np.ndarray:
    """Return the diagonal by which descent is preconditioned, a mean over poses, (M, M, M)."""
    plain = model if model.scales is None else replace(model, scales=None)
    numbers = Numbers(plain.reals, plain.integers)
    found, seen = np.zeros(model.size**3), 0
    for _, values, used in used_pieces(dataset, FURTHER):
        chosen = np.flatnonzero(used)[: most_rows - seen]
        further = [values[name][chosen].reshape(len(chosen), -1) for name in FURTHER]
        add_curvature(numbers, np.concatenate(further, axis=1).astype(np.float64), found)
        seen += len(chosen)
        if seen >= most_rows:
            break
    found /= seen
    return found.reshape((model.size,) * 3)


def optimizer_of(rate: float) -> ooc.optim.Optimizer:
    """Return descent whose rate falls as one over the steps, see `Training`."""
    descent = ooc.optim.sgd(rate)  # refuses a rate that cannot be
    return replace(descent, schedule=ooc.optim.schedules.inverse_scaling(1 / rate, 1.0))


def forget_peak() -> None:
    """Let the peak of this process's memory begin anew, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def train(
    half: Dataset, model: Density, training: Training, folder: Path, title: str, looks: int = 1
) -> Half:
    """Learn a density from images, looked at so often in an epoch.

    A run is saved in the folder, as any run of ooc is.

    Raises
    ------
    TooSmallError
        If the budget is too small for the run and its looks.
    """
    beside = LOOK_BYTES * model.size**3 if looks > 1 else 0
    memory = budget_of(training.memory) - beside
    trainer = ooc.Trainer(
        model, optimizer_of(training.rate), training.batch_size, memory=memory, seed=training.seed
    )
    run_folder = folder / f"{title.replace(' ', '-')}-run"
    shutil.rmtree(run_folder, ignore_errors=True)
    steps = -(-half.rows // training.batch_size)
    every, found, begun, spent = max(1, steps // looks), list[Look](), time.perf_counter(), 0.0

    def look(now: Situation) -> None:
        nonlocal spent
        before = time.perf_counter()
        if now.step < training.epochs * steps:
            seconds = before - begun - spent
            found.append(Look(now.step / steps, seconds, model.volume(now.solution)))
        spent += time.perf_counter() - before

    forget_peak()
    callbacks = ooc.Callbacks(step_end=look, every=every) if looks > 1 else ooc.Callbacks()
    try:
        with progress(title) as report:
            run = trainer.fit(half, training.epochs, run_folder, report, callbacks=callbacks)
    except TooSmallError as error:
        needed = error.needed + beside
        raise TooSmallError(
            f"the budget of {training.memory} is below the {format_size(needed)} that {title} "
            f"needs; raise --memory to {-(-needed // 2**20)}MiB, or lower --batch-size",
            needed,
        ) from None
    seconds = time.perf_counter() - begun - spent
    found.append(Look(float(training.epochs), seconds, model.volume(run.parameters)))
    half_found = Half(tuple(found), dict(run.results))
    # The next run counts what this process holds: no more of this one than its volumes.
    del run, trainer, callbacks
    gc.collect()
    give_back_freed()
    return half_found
