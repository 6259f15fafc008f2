"""Particle stacks of RELION: a STAR file with optics groups (3.1) and MRC stacks, to a dataset."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.core.errors import InputError
from ooc.core.progress import Progress, Report
from pipelines.common.dataset import Dataset, open_or_make
from pipelines.cryo_em.maps import package
from pipelines.cryo_em.optics import OPTICS
from pipelines.cryo_em.poses import from_euler

ROWS = 256  # that are read together
MOST_OPEN = 16  # stacks
NAME, GROUP, PIXEL = "rlnImageName", "rlnOpticsGroup", "rlnImagePixelSize"
ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst")
OF_PARTICLE = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
OF_GROUP = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
# Columns that may be left out, and then are 0.
ZERO = ("rlnCtfBfactor", "rlnPhaseShift", *ORIGINS)

Block = Mapping[str, np.ndarray]


def open_particles(folder: Path, star: Path, need_poses: bool = True) -> Dataset:
    """Open the particles of a STAR file as a dataset in a folder, written first if it is not there.

    Parameters
    ----------
    need_poses
        Whether angles must be there. Without them there are no arrays of rotations and shifts.

    Raises
    ------
    InputError
        If the file, a stack or a row cannot be used; each is named. Nothing is written then.
    """
    table, stacks, pixel = read_star(star, need_poses)
    attributes = {
        "pixel": pixel, "source": str(star),
        "star_sha256": hashlib.sha256(star.read_bytes()).hexdigest(),
    }  # fmt: skip
    path = folder / f"{star.stem}.zarr"
    return open_or_make(
        path, {"rows": len(stacks), **attributes},
        lambda report: _write(path, star, table, stacks, attributes, report),
    )  # fmt: skip


def read_star(
    star: Path, need_poses: bool = True
) -> tuple[dict[str, np.ndarray], list[tuple[Path, int]], float]:
    """Read and check what a STAR file says of particles; no image is read.

    Parameters
    ----------
    need_poses
        Whether all angles must be there; if not, all or none.

    Returns
    -------
    table
        Columns of particles, those of their optics groups among them.
    stacks
        For each particle its stack, and its place there from 0 on.
    pixel
        A.

    Raises
    ------
    InputError
        If a block, a column, a value, a stack or an image is not there, images are not square, or
        there is no pixel size; file, row and both numbers are told.
    """
    starfile = package("starfile")
    if not star.exists():
        raise InputError(f"{star} does not exist; name a STAR file of particles")
    blocks = starfile.read(star, always_dict=True)
    for name in ("optics", "particles"):
        if name not in blocks:
            raise InputError(
                f"{star} has no block data_{name}, but {', '.join(blocks) or 'none'}; write it "
                "with RELION 3.1 or later, which has optics groups"
            )
    optics, particles = (_columns(blocks[name]) for name in ("optics", "particles"))
    table = {NAME: np.asarray(_column(star, "particles", particles, NAME), str)}
    is_posed = need_poses or any(name in particles for name in ANGLES)
    for name in (*(ANGLES if is_posed else ()), *OF_PARTICLE):
        table[name] = _numbers(star, "particles", particles, name)
    for name in ZERO:
        table[name] = (
            _numbers(star, "particles", particles, name)
            if name in particles
            else np.zeros(len(table[NAME]))
        )
    groups = _numbers(star, "optics", optics, GROUP)
    places = np.full(len(table[NAME]), -1)
    for place, group in enumerate(groups):
        places[_numbers(star, "particles", particles, GROUP) == group] = place
    if (places < 0).any():
        row = int(np.argmin(places))
        raise InputError(
            f"{star}, data_particles, row {row + 1}: {GROUP} {particles[GROUP][row]} is none of "
            f"data_optics, which has {', '.join(f'{each:g}' for each in groups)}"
        )
    for name in OF_GROUP:
        table[name] = _numbers(star, "optics", optics, name)[places]
    stacks = _stacks(star, table[NAME])
    told = _check_stacks(star, stacks)
    return table, stacks, _pixel(star, optics, told)


def _columns(block: Any) -> Block:
    """Return the columns of a block, also of one that has no loop."""
    if isinstance(block, Mapping):
        return {name: np.array([value]) for name, value in block.items()}
    return {name: block[name].to_numpy() for name in block.columns}


def _column(star: Path, block: str, columns: Block, name: str) -> np.ndarray:
    if name not in columns:
        raise InputError(f"{star}, data_{block}: there is no column _{name}; add it")
    return columns[name]


def _numbers(star: Path, block: str, columns: Block, name: str) -> np.ndarray:
    """Return a column as finite float64."""
    given = _column(star, block, columns, name)
    found = np.array([_number(value) for value in given]) if given.dtype == object else given
    bad = ~np.isfinite(found)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{star}, data_{block}, row {row + 1}: _{name} is {given[row]}, no finite number; mend "
            "or remove the row"
        )
    return found.astype(np.float64)


def _number(value: object) -> float:
    """Return a number, NaN for what is none."""
    try:
        return float(str(value))
    except ValueError:
        return float("nan")


def _stacks(star: Path, names: np.ndarray) -> list[tuple[Path, int]]:
    """Read names such as 000012@Extract/stack.mrcs, relative to the STAR file or to here."""
    found, known = list[tuple[Path, int]](), dict[str, Path]()
    for row, name in enumerate(names):
        number, _, file = str(name).partition("@")
        if not (number.isdigit() and int(number) > 0 and file):
            raise InputError(
                f"{star}, data_particles, row {row + 1}: _{NAME} is {str(name)!r}, and not like "
                "000012@stack.mrcs"
            )
        if file not in known:
            places = [star.parent / file, Path(file)]
            there = [each for each in places if each.exists()]
            if not there:
                raise InputError(
                    f"{star}, data_particles, row {row + 1}: stack {file} is neither in "
                    f"{star.parent} nor here; copy it there, or start in RELION's project folder"
                )
            known[file] = there[0]
        found.append((known[file], int(number) - 1))
    return found


def _check_stacks(star: Path, stacks: list[tuple[Path, int]]) -> float:
    """Check that all images are there, square and of one size; return what headers say of pixels.

    Only headers are read.
    """
    mrcfile = package("mrcfile")
    sizes, pixel, first = dict[Path, tuple[int, int]](), 0.0, stacks[0][0]
    for row, (path, place) in enumerate(stacks):
        if path not in sizes:
            try:
                with mrcfile.open(path, header_only=True) as file:
                    across, down, count = (int(file.header[name]) for name in ("nx", "ny", "nz"))
                    pixel = max(pixel, float(file.header.cella.x) / max(1, int(file.header.mx)))
            except (ValueError, OSError) as error:
                raise InputError(
                    f"{path}, of row {row + 1} of {star}, is no MRC stack: {error}; write it again"
                ) from None
            if across != down:
                raise InputError(
                    f"{path}, of row {row + 1} of {star}, has images of {across} x {down} pixels, "
                    "and they must be square; extract them again"
                )
            sizes[path] = (across, count)
        if sizes[path][0] != sizes[first][0]:
            raise InputError(
                f"{path}, of row {row + 1} of {star}, has images of {sizes[path][0]} pixels, and "
                f"{first} of {sizes[first][0]}; scale them to one size"
            )
        if place >= sizes[path][1]:
            raise InputError(
                f"{star}, data_particles, row {row + 1}: image {place + 1} of {path}, which has "
                f"{sizes[path][1]}; the stack is not the one that the file was written for"
            )
    return pixel


def _pixel(star: Path, optics: Block, told: float) -> float:
    """Return the one pixel size of all groups, or what the stacks say."""
    if PIXEL not in optics:
        if not told > 0:
            raise InputError(
                f"{star}, data_optics: there is no column _{PIXEL}, and the stacks' headers have "
                "no pixel size either; add the column, in A"
            )
        return told
    sizes = _numbers(star, "optics", optics, PIXEL)
    if not sizes.min() > 0 or np.ptp(sizes) > 1e-6 * sizes.max():
        raise InputError(
            f"{star}, data_optics: _{PIXEL} is {', '.join(f'{each:g}' for each in sizes)}, and "
            "must be one positive size; scale the images to one"
        )
    return float(sizes[0])


def _write(
    path: Path,
    star: Path,
    table: Mapping[str, np.ndarray],
    stacks: list[tuple[Path, int]],
    attributes: Mapping[str, Any],
    report: Report,
) -> None:
    is_posed = ANGLES[0] in table
    angles = np.stack([table[name] for name in ANGLES]) if is_posed else None
    # RELION's origins are what is to be added to an image to centre it.
    shifts = -np.stack([table[name] for name in ORIGINS], axis=1) / attributes["pixel"]
    columns = {
        "defocus_u": table["rlnDefocusU"], "defocus_v": table["rlnDefocusV"],
        "angle": np.deg2rad(table["rlnDefocusAngle"]), "envelope": table["rlnCtfBfactor"],
        "voltage": table["rlnVoltage"], "spherical": table["rlnSphericalAberration"],
        "amplitude": table["rlnAmplitudeContrast"], "phase": np.deg2rad(table["rlnPhaseShift"]),
    }  # fmt: skip
    optics = np.stack([columns[name] for name in OPTICS], axis=1)
    reader = _images(star, stacks)
    first_rows = next(reader)
    box = first_rows.shape[1]
    fields = {
        "X": ("float32", (box, box)), "rotation": ("float32", (3, 3)),
        "shift": ("float32", (2,)), "optics": ("float32", (len(OPTICS),)),
    }  # fmt: skip
    if angles is None:
        fields = {name: fields[name] for name in ("X", "optics")}
    with ooc.create(path, fields, attributes) as writer:
        first, images, begun = 0, first_rows, time.perf_counter()
        while first < len(stacks):
            rows = slice(first, first + len(images))
            values = {"X": images, "optics": optics[rows]}
            if angles is not None:
                rotations = np.ascontiguousarray(from_euler(*angles[:, rows]))
                values |= {"rotation": rotations, "shift": shifts[rows]}
            writer.append(values)
            first = rows.stop
            seconds = time.perf_counter() - begun
            report(Progress(first, len(stacks), first * images[0].nbytes, seconds))
            images = next(reader, images)


def _images(star: Path, stacks: list[tuple[Path, int]]) -> Iterator[np.ndarray]:
    """Yield images, some hundred at a time, (rows, box, box) float32."""
    mrcfile = package("mrcfile")
    mapped = dict[Path, Any]()
    try:
        for first in range(0, len(stacks), ROWS):
            found = []
            for row, (path, place) in enumerate(stacks[first : first + ROWS], start=first):
                if path not in mapped:
                    if len(mapped) == MOST_OPEN:
                        mapped.pop(next(iter(mapped))).close()
                    mapped[path] = mrcfile.mmap(path, mode="r")
                data = mapped[path].data
                image = np.array(data if data.ndim == 2 else data[place], np.float32)
                if not np.isfinite(image).all():
                    raise InputError(
                        f"{path}, image {place + 1}, of row {row + 1} of {star}, has pixels that "
                        "are not finite; remove the row"
                    )
                found.append(image)
            yield np.stack(found)
    finally:
        for each in mapped.values():
            each.close()
