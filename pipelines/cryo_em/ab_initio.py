"""Ab initio reconstruction, poses unknown: stages over streamed mini-batches, saved on the way.

Starts make densities of low resolution from nothing, and the likeliest is kept; passes over all
images find their poses, and both halves' densities, finer from one to the next. In the last pass
the densities that poses are found in stay as they are, so that what comes out is of one set of
poses. True poses are not read.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.core.blas import one_thread
from ooc.core.errors import DataError, InputError
from ooc.core.random_keys import Purpose, generator, key
from ooc.stream.batch import Batch
from ooc.stream.plan import BEFORE_LOADER_BYTES, Demand, held_bytes
from pipelines.common.dataset import Dataset
from pipelines.cryo_em import pose_state
from pipelines.cryo_em.bands import Band, spectra_of
from pipelines.cryo_em.density_sums import empty_sums, sphere
from pipelines.cryo_em.maps import fitted
from pipelines.cryo_em.orientations import angles_between
from pipelines.cryo_em.passes import (
    Reference,
    add_batch,
    assign,
    densities_of,
    half_of,
    ratio_of,
    reference_of,
)
from pipelines.cryo_em.pose_state import GAIN, PoseState
from pipelines.cryo_em.resolution import HALVES, Correlation
from pipelines.cryo_em.start import Search, begin, improve, make_search, search_bytes

OPTICS = "optics"
# Between two saves: seconds at least, and the share of all time that they may take. What comes out
# does not depend on when it was saved.
SAVE_SECONDS, SAVE_SHARE = 10.0, 0.05
UPDATES = 6  # of the densities in a pass
JUDGED = 20  # mini-batches at a start's end that tell how likely it is
MOST_RING = 40  # of the densities, however large the images are: to find poses it is enough
WIDE = 2  # passes in which poses are looked for everywhere, at least


@dataclass(frozen=True)
class Settings:
    """How poses are looked for.

    Attributes
    ----------
    starts, steps
        Densities that are begun with, and mini-batches of each.
    passes
        Over all images, after them.
    batch_size
        Images of a mini-batch.
    most_shift
        Pixels, along each axis.

    Raises
    ------
    InputError
        If there are none, or the shift is none.
    """

    seed: int = 0
    starts: int = 2
    steps: int = 140
    passes: int = 5
    batch_size: int = 256
    most_shift: float = 2.0

    def __post_init__(self) -> None:
        if min(self.starts, self.passes, self.batch_size) < 1 or self.steps < 2:
            raise InputError(
                f"{self.starts} starts of {self.steps} mini-batches of {self.batch_size} images, "
                f"and {self.passes} passes, cannot be: take at least one of each, and 2 steps"
            )
        if not 0 < self.most_shift < math.inf:
            raise InputError(f"the largest shift is positive, in pixels, not {self.most_shift}")


@dataclass(frozen=True)
class Reconstruction:
    """Images, and what they are compared by.

    Attributes
    ----------
    dataset, pixel
        Images with optics, and A.
    settings, search, band
        How; in which band a start works, and in which one all passes do.
    memory, held
        The budget of the process, and the bytes of it that were held before.
    """

    dataset: Dataset
    pixel: float
    settings: Settings
    search: Search
    band: Band
    memory: str
    held: int

    @property
    def voxel(self) -> float:
        """Side of the densities' voxels, A."""
        return self.pixel * self.band.box / self.band.inner


def prepare(
    dataset: Dataset, box: int, pixel: float, noise: np.ndarray, settings: Settings, memory: str
) -> Reconstruction:
    """Return a reconstruction; images that are too small are refused."""
    search = make_search(box, pixel, noise, settings.most_shift, settings.steps)
    band = Band(min(MOST_RING, (box - 1) // 2), box, tuple(map(float, noise)))
    # Later what is held is this reconstruction's own, which the stream leaves room for.
    held = held_bytes(before=BEFORE_LOADER_BYTES)
    return Reconstruction(dataset, pixel, settings, search, band, memory, held)


def rows_of(task: Reconstruction) -> int:
    """Return how many images all stages look at, the same ones again and again."""
    settings = task.settings
    starts = settings.starts * settings.steps * settings.batch_size
    return starts + settings.passes * task.dataset.rows


def reconstruct(
    task: Reconstruction, folder: Path, report: Callable[[PoseState], None] = lambda state: None
) -> PoseState:
    """Find poses and densities; what a folder holds of it is gone on from.

    Returns
    -------
    PoseState
        With all poses; arrays "volumes" (2, box, box, box), of both halves, and "looks", a density
        of each stage.

    Raises
    ------
    InputError
        If the folder holds poses of other images or settings.
    DataError
        If a pixel is not finite; with its row.
    """
    identity = pose_state.identity_of(task.dataset, asdict(task.settings))
    state = pose_state.load(folder, identity) or pose_state.new_state(task.dataset.rows)
    stages = task.settings.starts + task.settings.passes
    begun, due = time.perf_counter() - state.seconds, state.seconds + SAVE_SECONDS
    with one_thread():
        while state.stage < stages:
            run = _start if state.stage < task.settings.starts else _pass
            for _ in run(task, state):
                state.seconds = time.perf_counter() - begun
                report(state)
                if state.seconds >= due:
                    pose_state.save(folder, state, identity)
                    now = time.perf_counter() - begun
                    due = now + max(SAVE_SECONDS, (now - state.seconds) / SAVE_SHARE)
            state.stage, state.position = state.stage + 1, None
            state.seconds = time.perf_counter() - begun
            state.history[-1]["seconds"] = state.seconds
            pose_state.save(folder, state, identity)
    return state


def _batches(task: Reconstruction, state: PoseState, steps: int) -> Iterator[Batch]:
    """Yield mini-batches of a stage from where it stands, and move the state's position."""
    settings = task.settings
    demand = Demand(_own_bytes(task), held_bytes=task.held)
    # A window is a function of what else is in memory: what it was at first, it stays.
    window = state.history[0]["window"] if state.history else "auto"
    loader = ooc.Loader(
        task.dataset, settings.batch_size, arrays=(task.dataset.features, OPTICS), demand=demand,
        memory=task.memory, seed=key(settings.seed, Purpose.BATCH, state.stage), window=window,
    )  # fmt: skip
    if not state.history:
        state.history.append({"name": "window", "window": loader.plan.order.blocks_per_window})
    if state.position is not None:
        loader.load_state_dict(state.position)
    while loader.step < steps:
        for batch in loader:
            _check_pixels(task.dataset, batch)
            state.position = loader.state_dict()
            state.step += 1
            yield batch
            if loader.step == steps:
                break


def _check_pixels(dataset: Dataset, batch: Batch) -> None:
    """Refuse images with pixels that are not finite; the first row is told."""
    finite = np.isfinite(batch[dataset.features]).all(axis=(1, 2))
    if not finite.all():
        row = int(batch.rows[np.argmin(finite)])
        raise DataError(
            f"row {row} of array {dataset.features} of {dataset.path} has pixels that are not "
            "finite; mend or remove it"
        )


def _own_bytes(task: Reconstruction) -> int:
    """Return what the stages hold beside the stream, at most."""
    band, rows = task.band, task.settings.batch_size
    searched = search_bytes(task.search, rows)
    # Two halves' sums and densities, their transforms, and what is needed to make them.
    dense = band.size**3 * (2 * 16 + 2 * 8 + 64)
    spectra = rows * len(band.samples) * 64
    return searched + dense + spectra + 2 * 4 * pose_state.COLUMNS * task.dataset.rows


def _start(task: Reconstruction, state: PoseState) -> Iterator[None]:
    """Make a density of low resolution; the likeliest so far is kept."""
    search, settings, arrays = task.search, task.settings, state.arrays
    for batch in _batches(task, state, settings.steps):
        images, optics = batch[task.dataset.features], batch[OPTICS]
        step = state.step - 1 - state.stage * settings.steps
        if step == 0:
            rng = generator(settings.seed, Purpose.PARAMETERS, index=state.stage)
            arrays["sums"], arrays["volume"] = begin(search, images, optics, rng)
            arrays["gains"] = np.full(settings.steps, np.nan)
        else:
            arrays["volume"], arrays["gains"][step] = improve(
                search, arrays["volume"], arrays["sums"], images, optics, step,
                None if step == 1 else float(arrays["gains"][1]),
            )  # fmt: skip
        yield
    gain = float(arrays["gains"][1:][-JUDGED:].mean())  # the first one had no density
    best = max((each["gain"] for each in state.history[1:]), default=-np.inf)
    state.history.append({"name": f"start {state.stage + 1}", "gain": gain})
    if gain > best:
        arrays["start"] = arrays["volume"]
    if state.stage + 1 == settings.starts:
        _begin_passes(task, state)


def _begin_passes(task: Reconstruction, state: PoseState) -> None:
    """Put the likeliest density in the place of both halves'."""
    band, start = task.band, state.arrays["start"]
    # Voxels are smaller now, and slices are divided by the box.
    volume = fitted(start, 1.0, band.inner)[0] * (len(start) / band.inner) ** 2
    volume *= sphere(band.inner)
    shells = (band.inner - 1) // 2 + 1
    state.arrays = {
        "sums": np.stack([empty_sums(band)] * 2), "volumes": np.stack([volume] * 2),
        "ratio": np.ones(shells), "last": np.array(task.search.band.last),
        "looks": volume[None].astype(np.float32),
    }  # fmt: skip


def _pass(task: Reconstruction, state: PoseState) -> Iterator[None]:
    """Find the poses of all images, and the densities that they make."""
    settings, arrays, band = task.settings, state.arrays, task.band
    number = state.stage - settings.starts
    steps = -(-task.dataset.rows // settings.batch_size)
    is_last, every = number == settings.passes - 1, -(-steps // UPDATES)
    first = state.step - (0 if state.position is None else state.position["step"])
    if state.position is None:
        arrays["before"] = state.poses.copy()
        if number == 0 or is_last:
            arrays["sums"][:] = 0
    search = task.search if number < WIDE else None
    references = _references(task, state, search)
    for batch in _batches(task, state, steps):
        spectra = spectra_of(batch[task.dataset.features], batch[OPTICS], band, task.pixel)
        if number > 0 and not is_last:
            arrays["sums"] *= 1 - 1 / steps
        for half, reference in enumerate(references):
            chosen = np.flatnonzero(half_of(batch.rows) == half)
            rows, own = batch.rows[chosen], spectra.take(chosen)
            assign(state, rows, own, reference, band, task.search, int(arrays["last"]),
                   settings.most_shift)  # fmt: skip
            add_batch(arrays["sums"][half], state, rows, own, band)
        if (state.step - first) % every == 0 and not is_last and state.step - first < steps:
            _take_anew(task, state)
            references = _references(task, state, search)
        yield
    _take_anew(task, state)
    arrays["looks"] = np.concatenate([arrays["looks"], arrays["volumes"].mean(axis=0)[None]])
    state.history.append(_summary(task, state, number))


def _references(task: Reconstruction, state: PoseState, search: Search | None) -> list[Reference]:
    return [reference_of(volume, task.band, search) for volume in state.arrays["volumes"]]


def _take_anew(task: Reconstruction, state: PoseState) -> None:
    """Take densities, trust in their shells, and the band of poses from the sums."""
    arrays, band = state.arrays, task.band
    volumes, correlation = densities_of(arrays["sums"], band, arrays["ratio"], task.voxel)
    arrays["ratio"] = ratio_of(correlation)
    volumes, correlation = densities_of(arrays["sums"], band, arrays["ratio"], task.voxel)
    arrays["volumes"], arrays["correlation"] = volumes, correlation.values
    reached = round(correlation.shell(HALVES))
    arrays["last"] = np.array(min(max(reached, task.search.band.last), band.last))


def _summary(task: Reconstruction, state: PoseState, number: int) -> dict[str, Any]:
    """Tell of a pass how far it came; no truth is needed."""
    arrays = state.arrays
    before = PoseState(arrays["before"])
    everything, turned = slice(None), None
    if before.known(everything).all():
        turned = float(np.median(angles_between(before.rotations(everything),
                                                state.rotations(everything))))  # fmt: skip
    halves = Correlation(arrays["correlation"], task.voxel, task.band.inner)
    return {
        "name": f"pass {number + 1}", "gain": float(state.poses[:, GAIN].mean(dtype=np.float64)),
        "halves_A": halves.resolution(HALVES), "last": int(arrays["last"]), "turned": turned,
    }  # fmt: skip
