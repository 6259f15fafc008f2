"""The pipeline's part in which poses are not known: they are found, and judged after the end."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.destination import write_whole
from ooc.core.process import peak_bytes
from ooc.core.progress import Progress
from ooc.core.sizes import format_size
from ooc.store.columns import pieces_of
from pipelines.common.checks import Check, at_most, inside_budget
from pipelines.common.dataset import Dataset, decoded_bytes, progress
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.cryo_em import figures, pose_figures
from pipelines.cryo_em.ab_initio import Reconstruction, Settings, prepare, reconstruct, rows_of
from pipelines.cryo_em.alignment import Alignment, align, fit_poses
from pipelines.cryo_em.density_sums import sphere
from pipelines.cryo_em.maps import fitted, write_map
from pipelines.cryo_em.model import OPTIC, ROTATION
from pipelines.cryo_em.orientations import angles_between
from pipelines.cryo_em.pose_state import PoseState
from pipelines.cryo_em.resolution import TRUTH, correlate, weighted
from pipelines.cryo_em.start import check_box
from pipelines.cryo_em.training import check_images, forget_peak, noise_of

# What is asked of 20,000 images of the ribosome at 5 A a pixel: 20 A, a median of 5 degrees, and
# 40 minutes on two cores.
PIXELS, DEGREES, MINUTES, IMAGES = 4.0, 5.0, 40.0, 20_000


def settings_of(options: argparse.Namespace) -> Settings:
    """Return how poses are looked for; what cannot be is refused, generated images among it."""
    if options.particles is None:
        check_box(options.box)
    return Settings(
        options.seed, options.starts, options.start_steps, options.passes, options.batch_size,
        options.most_shift,
    )  # fmt: skip


def find_poses(
    options: argparse.Namespace, dataset: Dataset, truth: np.ndarray | None, budget: int
) -> Iterator[Section]:
    """Find poses and densities of images, and tell how good they are.

    Parameters
    ----------
    truth
        (box,)*3 of generated images; looked at after the end, as true poses are.
    """
    box, pixel = check_images(dataset, (OPTIC,))
    task = prepare(dataset, box, pixel, noise_of(dataset), settings_of(options), options.memory)
    total = rows_of(task)
    forget_peak()
    with progress("poses") as report:
        state = reconstruct(
            task, options.folder / f"poses-seed{options.seed}-run",
            lambda now: report(
                Progress(min(now.step * options.batch_size, total), total, 0, now.seconds)
            ),
        )  # fmt: skip
    peak = peak_bytes()
    judged = _judge(task, state, truth)
    yield _told(task, state, judged, peak, budget)
    _write(options.folder, state, task.voxel)
    yield _pictures(options.folder, task, state, judged, truth)


@dataclass(frozen=True)
class Judgement:
    """What the truth says of a density and of poses.

    Attributes
    ----------
    looks
        For each stage's density how it lies in the truth; empty where no density is known.
    resolutions
        A against the truth, of each stage.
    errors
        (rows,) degrees from the poses that the images came with; None where they had none.
    """

    looks: list[Alignment]
    resolutions: list[float]
    errors: np.ndarray | None


def _judge(task: Reconstruction, state: PoseState, truth: np.ndarray | None) -> Judgement:
    dataset = task.dataset
    looks, resolutions = list[Alignment](), list[float]()
    if truth is not None:
        with progress("alignment"):
            mask = sphere(len(truth))
            for volume in state.arrays["looks"][::-1]:
                # Stages share a frame, but for a little: the last one's is where others begin.
                found, _ = fitted(volume, task.voxel, len(truth))
                looks.insert(0, align(found, truth, looks[-1] if looks else None))
                laid = looks[0].lay(found) * mask
                resolutions.insert(0, correlate(laid, truth * mask, task.pixel).resolution(TRUTH))
    if ROTATION not in dataset.arrays:
        return Judgement(looks, resolutions, None)
    given = [values[ROTATION].copy() for _, _, values in pieces_of(dataset, (ROTATION,))]
    theirs, ours = np.concatenate(given), state.rotations(slice(None))
    laid = looks[-1].poses(ours) if looks else fit_poses(ours, theirs)
    return Judgement(looks, resolutions, angles_between(laid, theirs))


def _told(
    task: Reconstruction, state: PoseState, judged: Judgement, peak: int, budget: int
) -> Section:
    dataset, box, pixel = task.dataset, task.band.box, task.pixel
    cells, before = [], 0.0
    starts = state.history[1 : 1 + task.settings.starts]
    likeliest = max(starts, key=lambda each: float(each["gain"]))["name"]
    passes = state.history[1 + len(starts) :]
    names = [likeliest, *(each["name"] for each in passes)][: len(judged.resolutions)]
    looks = dict(zip(names, judged.resolutions, strict=True))
    for each in state.history[1:]:
        row = [each["name"], f"{each['gain']:.1f}", _number(each, "halves_A", 2),
               _number(each, "last", 0), _number(each, "turned", 2)]  # fmt: skip
        if judged.resolutions:
            row.append(f"{looks[each['name']]:.2f}" if each["name"] in looks else "")
        cells.append((*row, f"{each['seconds'] - before:.1f}"))
        before = each["seconds"]
    head = ("", "log-likelihood gained", "halves, A", "ring of poses", "turned, degrees",
            *(("truth, A",) if judged.resolutions else ()), "seconds")  # fmt: skip
    tables = [Table("stages", head, tuple(cells))]
    numbers: dict[str, Any] = {"stages": state.history[1:], "seconds": state.seconds}
    checks = list[Check]()
    if judged.resolutions:
        numbers |= {"truth_A": judged.resolutions, "is_mirrored": judged.looks[-1].is_mirrored}
        checks.append(
            at_most("resolution at 0.5 against the truth, A", judged.resolutions[-1],
                    PIXELS * pixel)
        )  # fmt: skip
    if judged.errors is not None:
        shares = [float(np.mean(judged.errors > angle)) for angle in (5, 10, 30)]
        median, ninth = np.quantile(judged.errors, [0.5, 0.9])
        away = (f"{median:.2f}", f"{ninth:.2f}", *(f"{100 * share:.2f} %" for share in shares))
        head = ("median, degrees", "9 of 10 below", "above 5", "above 10", "above 30")
        tables.append(Table("distance from the poses that images came with", head, (away,)))
        numbers["pose_error_degrees"] = {"median": float(median), "ninth": float(ninth)}
        if judged.resolutions:
            checks.append(at_most("median pose error, degrees", float(median), DEGREES))
    allowed = MINUTES * max(1.0, dataset.rows / IMAGES)
    checks += [at_most("minutes", state.seconds / 60, allowed), inside_budget(peak, budget)]
    numbers["halves_A"] = state.history[-1]["halves_A"]
    settings = task.settings
    return Section(
        f"Ab initio from {dataset.rows:,} images of {box} x {box} pixels of {pixel:g} A, "
        f"{format_size(decoded_bytes(dataset))}",
        f"{settings.starts} starts of {settings.steps} mini-batches of {settings.batch_size} "
        f"images on rings up to {task.search.band.last}, of which the likelier goes on; "
        f"{settings.passes} passes over all images. Poses were read by nobody before the end. "
        f"Nyquist is {2 * pixel:g} A.",
        tuple(tables), checks=tuple(checks),
        results={"ab_initio": numbers, "memory_peak_bytes": peak},
    )  # fmt: skip


def _number(entry: dict[str, Any], name: str, digits: int) -> str:
    value = entry.get(name)
    return "" if value is None else f"{value:.{digits}f}"


def _write(folder: Path, state: PoseState, voxel: float) -> None:
    """Write the density and the poses, for other programs."""
    one, other = state.arrays["volumes"]
    mean = weighted((one + other) / 2, correlate(one, other, voxel))
    write_map(folder / "density.mrc", mean, voxel)
    write_whole(folder / "poses.npy", lambda file: np.save(file, state.poses))


def _pictures(
    folder: Path, task: Reconstruction, state: PoseState, judged: Judgement,
    truth: np.ndarray | None,
) -> Section:  # fmt: skip
    with progress("draw"):
        looks, (one, other) = state.arrays["looks"], state.arrays["volumes"]
        names = ["start", *(f"pass {number}" for number in range(1, len(looks)))]
        curves, pixel = {"halves": correlate(one, other, task.voxel)}, task.pixel
        halves = [float("nan"), *(each["halves_A"] for each in state.history if "last" in each)]
        resolutions = {"half against half, 0.143": halves}
        shown = {name: looks[place] for name, place in ((names[0], 0), (names[1], 1),
                                                        (names[-1], -1))}  # fmt: skip
        if truth is not None:
            laid = judged.looks[-1]
            shown = {"truth": truth} | {
                name: laid.lay(fitted(each, task.voxel, len(truth))[0])
                for name, each in shown.items()
            }
            mask = sphere(len(truth))
            curves["truth"] = correlate(shown[names[-1]] * mask, truth * mask, pixel)
            resolutions["against the truth, 0.5"] = judged.resolutions
        views = state.rotations(slice(None))[:, 2]
        pictures = [
            pose_figures.draw_stages(names, resolutions, 2 * pixel, PIXELS * pixel),
            figures.draw_slices(
                shown, "The start is a smooth shape; after the last pass it looks like the truth."
            ),
            figures.draw_correlations(curves, "Both curves fall at about the same frequency."),
            figures.draw_views(views),
        ]
        if judged.errors is not None:
            pictures.insert(1, pose_figures.draw_pose_errors(judged.errors, DEGREES))
    figures.save(pictures, folder)
    return Section("What was found", pictures=tuple(pictures))
