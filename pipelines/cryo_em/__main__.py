"""Cryo-EM: a three-dimensional structure from noisy two-dimensional images, by descent.

Images are projections of a density in known poses, times the microscope's transfer function,
shifted, in noise. They are made of a ribosome (of the folder OOC_REAL_DATA), of any MRC file or of
a generated density, by projection in real space, or read from RELION's stacks. Two halves of them
each learn the density, a number for each voxel, from mini-batches of Fourier slices, with and
without a diagonal preconditioner; beside them stands direct Fourier inversion with Wiener weights.
With --alone there is the preconditioned descent alone, where a pass over the images takes long.
With --poses unknown poses are found, too, from images alone: first a density of low resolution from
nothing, then each image's pose and a finer density, mini-batch by mini-batch. A run that was killed
goes on where it was saved last.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import fft

import ooc
from ooc.core.errors import InputError
from ooc.core.sizes import format_size, parse_count
from ooc.store.columns import pieces_of
from pipelines.common.arguments import Parser, add_data_options, check_memory, check_training
from pipelines.common.checks import Check, at_least, at_most, inside_budget
from pipelines.common.command import carry_out
from pipelines.common.dataset import Dataset, decoded_bytes, progress
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.cryo_em import figures
from pipelines.cryo_em.data import Imaging, clean_images, open_images
from pipelines.cryo_em.inversion import Inversion, invert
from pipelines.cryo_em.maps import fitted, make_map, package, read_map, real_map, write_map
from pipelines.cryo_em.model import Density
from pipelines.cryo_em.particles import open_particles
from pipelines.cryo_em.projection import finer
from pipelines.cryo_em.resolution import (
    HALVES,
    TRUTH,
    Correlation,
    correlate,
    shells_of,
    soft_sphere,
    weighted,
)
from pipelines.cryo_em.training import (
    Half,
    Training,
    check_images,
    curvature_of,
    noise_of,
    optimizer_of,
    train,
)
from pipelines.cryo_em.unknown_poses import find_poses, settings_of

QUICK = {"images": "12k", "box": 32, "map": "made"}
LOOKS = 8  # in an epoch
MADE_PIXEL = 5.0
MASK = 0.45  # radius in boxes
MADE, RIBOSOME = "made", "ribosome"
KNOWN, UNKNOWN = "known", "unknown"
DESCENT, PLAIN, DIRECT = "descent", "descent, plain", "direct inversion"
# How far from direct inversion descent may be, in shells; and of the finest shells' amplitude.
APART, AMPLITUDE = 1.0, 0.7


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Make or read images, learn from both halves, invert, compare, draw."""
    budget = check_memory(options.memory)
    package("mrcfile")  # the density is written as MRC
    optimizer_of(options.rate)  # refuses what cannot be
    if options.poses == UNKNOWN:
        settings_of(options)  # refuses what cannot be, too
        if options.alone:
            raise InputError("--alone goes with poses that are known; leave it out")
    dataset, truth = _images(options)
    if options.poses == UNKNOWN:
        yield from find_poses(options, dataset, truth, budget)
        return
    check_training(options, dataset.rows // 2)
    box, pixel = check_images(dataset)
    halves = ooc.split(dataset, 0.5, seed=options.seed)
    training = Training(
        options.epochs, options.batch_size, options.rate, options.memory, options.seed
    )
    plain = Density(box, pixel, options.padding).with_noise(noise_of(dataset))
    with progress("curvature"):
        curvature = curvature_of(dataset, plain)
    mask = soft_sphere(box, MASK * box)
    looks = LOOKS if box <= 64 else 1
    ways = {DESCENT: plain.preconditioned, PLAIN: plain.evenly_scaled}
    found = {
        name: [train(half, model, training, options.folder, f"{name.replace(',', '')} {number}",
                     looks)
               for number, half in enumerate(halves, start=1)]
        for name, model in ((name, ways[name](curvature))
                            for name in ([DESCENT] if options.alone else ways))
    }  # fmt: skip
    del curvature
    inverted = (
        None if options.alone else invert((halves[0], halves[1]), plain, mask, options.memory)
    )
    yield _resolutions(options, dataset, found, inverted, truth, mask, pixel, budget)
    yield _pictures(options, dataset, found, inverted, truth, mask, pixel)


def _images(options: argparse.Namespace) -> tuple[Dataset, np.ndarray | None]:
    """Return images, and the density of generated ones as images have it, with their gain."""
    if options.particles is not None:
        needs_poses = options.poses == KNOWN
        return open_particles(options.folder, options.particles, needs_poses), None
    rows = parse_count(options.images)
    check_training(options, rows // 2)
    imaging = Imaging(options.snr, options.preferred, options.seed)
    volume, pixel = _map(options)
    dataset = open_images(options.folder, volume, pixel, rows, imaging)
    return dataset, volume * float(dataset.attributes["gain"])


def _map(options: argparse.Namespace) -> tuple[np.ndarray, float]:
    Density(options.box, MADE_PIXEL, options.padding)  # refuses what cannot be
    if options.map not in (MADE, RIBOSOME):
        return fitted(*read_map(Path(options.map), options.pixel), options.box)
    real = real_map(options.box) if options.map == RIBOSOME else None
    return (make_map(options.box, options.seed), MADE_PIXEL) if real is None else real


def _resolutions(
    options: argparse.Namespace,
    dataset: Dataset,
    found: dict[str, list[Half]],
    inverted: Inversion | None,
    truth: np.ndarray | None,
    mask: np.ndarray,
    pixel: float,
    budget: int,
) -> Section:
    volumes = {name: [half.volume for half in halves] for name, halves in found.items()}
    seconds = {name: sum(half.looks[-1].seconds for half in halves)
               for name, halves in found.items()}  # fmt: skip
    peaks = {name: max(half.results["memory_peak_bytes"] for half in halves)
             for name, halves in found.items()}  # fmt: skip
    if inverted is not None:
        volumes[DIRECT] = list(inverted.halves)
        seconds[DIRECT], peaks[DIRECT] = inverted.seconds, inverted.peak
    own = {name: correlate(pair[0] * mask, pair[1] * mask, pixel) for name, pair in volumes.items()}
    cells, numbers = [], dict[str, Any]()
    for name, pair in volumes.items():
        row = [name, f"{own[name].resolution(HALVES):.2f}", f"{own[name].shell(HALVES):.2f}"]
        numbers[name] = {"halves_A": own[name].resolution(HALVES), "seconds": seconds[name],
                         "halves_shell": own[name].shell(HALVES)}  # fmt: skip
        if truth is not None:
            against = correlate((pair[0] + pair[1]) * mask, truth * mask, pixel)
            amplitude = amplitude_of(pair[0], truth, mask)
            row += [f"{against.resolution(TRUTH):.2f}", f"{amplitude:.2f}"]
            numbers[name] |= {"truth_A": against.resolution(TRUTH), "amplitude": amplitude,
                              "truth_shell": against.shell(TRUTH)}  # fmt: skip
        reached = _reached(found[name], own[DIRECT], mask) if name in found and inverted else ""
        cells.append((*row, reached, f"{seconds[name]:.1f}", f"{peaks[name] / 2**20:.0f}"))
    head = ("", "halves, A", "shell", *(("truth, A", "amplitude") if truth is not None else ()),
            "epochs to one shell of direct", "seconds", "peak, MiB")  # fmt: skip
    results = found[DESCENT][0].results
    checks = [inside_budget(max(peaks.values()), budget)]
    if truth is not None:
        checks.append(at_least("amplitude of fine shells, descent",
                               numbers[DESCENT]["amplitude"], AMPLITUDE))  # fmt: skip
    if inverted is not None:
        # Two times the threshold in the last shell: then noise does not decide.
        allow = own[DIRECT].values[-1] >= 2 * HALVES
        checks += _checks(numbers, len(mask), bool(allow))
    combined = (volumes[DESCENT][0] + volumes[DESCENT][1]) / 2
    path = options.folder / "density.mrc"
    write_map(path, weighted(combined, own[DESCENT]), pixel)
    rate = results["rows_per_second"]
    told = "Resolution does not see how high a shell is: amplitude is that of the finer half of "
    told = "" if truth is None else f"{told}shells, of the truth's."
    return Section(
        f"{dataset.rows:,} images of {len(mask)} x {len(mask)} pixels of {pixel:g} A, "
        f"{format_size(decoded_bytes(dataset))}",
        f"Two halves, {options.epochs} epochs each, {rate:,.0f} images a second; Nyquist is shell "
        f"{len(mask) / 2:g}, {2 * pixel:g} A, and shells up to {(len(mask) - 1) // 2} are read. "
        f"The mean of both halves, with Wiener weights, is {path.name}. {told}".strip(),
        (Table("resolution", head, tuple(cells)),),
        checks=tuple(checks),
        results={"resolution": numbers, "training": dict(results), "memory_peak_bytes": peaks},
    )


def _checks(numbers: dict[str, Any], box: int, allow: bool) -> list[Check]:
    """Hold descent to direct inversion, to the truth, and to Nyquist where images allow it."""
    descent, direct = numbers[DESCENT], numbers[DIRECT]
    checks = [at_least("shell at 0.143, descent", descent["halves_shell"],
                       direct["halves_shell"] - APART)]  # fmt: skip
    if "truth_shell" not in descent:
        return checks
    checks += [
        at_least("shell at 0.5 against the truth, descent, of direct inversion's",
                 descent["truth_shell"], direct["truth_shell"] - APART),
        at_most("amplitude of fine shells, plain descent, less",
                numbers[PLAIN]["amplitude"], descent["amplitude"]),
    ]  # fmt: skip
    if allow:
        name = "shell at {}, one below Nyquist or finer"
        checks += [
            at_least(name.format(level), descent[key], box / 2 - 1)
            for level, key in ((HALVES, "halves_shell"), (TRUTH, "truth_shell"))
        ]
    return checks


def amplitude_of(volume: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Return the regression of a density on the truth over the finer half of shells."""
    one, other = (fft.rfftn(each.astype(np.float64) * mask) for each in (volume, truth))
    shells = shells_of(len(mask))
    fine = (shells > len(mask) // 4) & (shells <= (len(mask) - 1) // 2)
    # Each shell counts the same, whatever its power is.
    both = np.bincount(shells[fine], (one * other.conj()).real[fine])
    power = np.bincount(shells[fine], np.abs(other[fine]) ** 2)
    return float((both[power > 0] / power[power > 0]).mean())


def _reached(halves: list[Half], direct: Correlation, mask: np.ndarray) -> str:
    """Return after how many epochs descent is within a shell of direct inversion for good."""
    pixel, goal = direct.pixel, direct.shell(HALVES) - APART
    after = None
    for one, other in zip(halves[0].looks, halves[1].looks, strict=True):
        shell = correlate(one.volume * mask, other.volume * mask, pixel).shell(HALVES)
        if shell < goal:
            after = None
        elif after is None:
            after = one.epochs
    return "not" if after is None else f"{after:.2f}"


def _pictures(
    options: argparse.Namespace,
    dataset: Dataset,
    found: dict[str, list[Half]],
    inverted: Inversion | None,
    truth: np.ndarray | None,
    mask: np.ndarray,
    pixel: float,
) -> Section:
    pairs = {name: [half.volume for half in halves] for name, halves in found.items()}
    if inverted is not None:
        pairs[DIRECT] = list(inverted.halves)
    curves = {
        f"{name}, halves": correlate(a * mask, b * mask, pixel) for name, (a, b) in pairs.items()
    }
    shown = {name: (a + b) / 2 for name, (a, b) in pairs.items()}
    first = found[DESCENT][0].looks[0]
    shown = {f"after {first.epochs:.2f} epochs": first.volume, **shown}
    if truth is not None:
        shown = {"truth": truth, **shown}
        for name in [name for name in pairs if name != PLAIN]:
            a, b = pairs[name]
            curves[f"{name}, truth"] = correlate((a + b) * mask, truth * mask, pixel)
    batch = next(iter(ooc.Loader(dataset, 6, arrays=("X", "rotation", "shift", "optics"),
                                 shuffle="none", memory=options.memory)))  # fmt: skip
    clean = clean_images(
        finer(shown[DESCENT]), batch["rotation"], batch["shift"], batch["optics"], pixel
    )
    with progress("draw"):
        views = np.concatenate([values[:, 2] for values in _rotations(dataset)])
        pictures = [
            figures.draw_images(batch["X"], clean), figures.draw_slices(shown),
            figures.draw_correlations(curves), figures.draw_views(views),
        ]  # fmt: skip
        if truth is not None and len(found[DESCENT][0].looks) > 1:
            pictures.append(_epochs(found, truth, mask, pixel))
    figures.save(pictures, options.folder)
    return Section("What was found", pictures=tuple(pictures))


def _rotations(dataset: Dataset) -> Iterator[np.ndarray]:
    for _, _, values in pieces_of(dataset, ("rotation",)):
        yield values["rotation"].copy()


def _epochs(
    found: dict[str, list[Half]], truth: np.ndarray, mask: np.ndarray, pixel: float
) -> figures.Picture:
    curves = {}
    for name, halves in found.items():
        pairs = list(zip(halves[0].looks, halves[1].looks, strict=True))
        resolutions = [
            (a.epochs, correlate(a.volume * mask, b.volume * mask, pixel).resolution(HALVES))
            for a, b in pairs
        ]
        amplitudes = [(a.epochs, amplitude_of(a.volume, truth, mask)) for a, _ in pairs]
        curves[name] = (resolutions, amplitudes)
    return figures.draw_epochs(curves, 2 * pixel)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status."""
    parser = Parser("cryo_em", str(__doc__), QUICK)
    parser.add_argument("--images", default="20k", help="generated images")
    parser.add_argument("--box", type=int, default=64, help="pixels along an image's side")
    parser.add_argument(
        "--map", default=RIBOSOME,
        help=f"{RIBOSOME} (of OOC_REAL_DATA; else one is made), {MADE}, or an MRC file",
    )  # fmt: skip
    for name, kind, label, told in (
        ("--pixel", float, "A", "in place of what the MRC file says"),
        ("--particles", Path, "FILE", "a STAR file of RELION, in place of generated images"),
    ):
        parser.add_argument(name, type=kind, metavar=label, default=argparse.SUPPRESS, help=told)
    parser.add_argument("--snr", type=float, default=0.1, help="variance of signal over noise")
    parser.add_argument("--preferred", type=float, default=0.0, help="share of preferred views")
    add_data_options(parser, "cryo-data", "1GiB")
    parser.add_argument("--epochs", type=int, default=2, help="passes over the images")
    parser.add_argument("--batch-size", type=int, default=256, help="images of a step")
    parser.add_argument("--rate", type=float, default=0.2, help="of the first step")
    parser.add_argument(
        "--alone", action="store_true", help="neither plain descent nor direct inversion beside"
    )
    parser.add_argument("--padding", type=float, default=2.0, help="of the density's box")
    parser.add_argument(
        "--poses", choices=(KNOWN, UNKNOWN), default=KNOWN,
        help=f"{UNKNOWN}: found from images alone; a run that was stopped goes on",
    )  # fmt: skip
    for name, each, default, told in (
        ("--starts", int, 2, "densities that are begun with, of unknown poses"),
        ("--start-steps", int, 140, "mini-batches of a start"),
        ("--passes", int, 5, "over all images, after the starts"),
        ("--most-shift", float, 2.0, "pixels along an axis that unknown shifts are up to"),
    ):
        parser.add_argument(name, type=each, default=default, help=told)
    parser.set_defaults(pixel=None, particles=None)
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
