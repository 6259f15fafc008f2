"""The MNIST digits: read from their files, split, and expanded to any number of rows."""

import gzip
import math
import os
import struct
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

import ooc
from ooc.core.compiler import exact_kernel
from ooc.core.errors import InputError
from ooc.core.progress import Report, silent
from ooc.core.random_keys import Purpose, generator
from pipelines.common.dataset import SHARD_BYTES, Columns, Fields, write

IMAGES = "mnist-t10k-images-idx3-ubyte.gz"
LABELS = "mnist-t10k-labels-idx1-ubyte.gz"
LARGEST_IDX = 2**28
SIDE = 28
CLASSES = 10
SCALE = 1 / 255
HELD_OUT = 2000
FIELDS: Fields = {"X": ("uint8", (SIDE, SIDE)), "y": ("uint8", ()), "source": ("uint32", ())}
# What each random byte stands for: looking up a quantile costs a tenth of drawing a normal number.
NORMAL = np.array([NormalDist().inv_cdf((byte + 0.5) / 256) for byte in range(256)])


@dataclass(frozen=True)
class Digits:
    """Digits in memory: images (n, 28, 28) and labels (n,), both uint8.

    Attributes
    ----------
    numbers
        (n,) uint32, the place of each digit in its file.
    """

    images: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray

    def take(self, which: np.ndarray | slice) -> "Digits":
        """Return some of the digits."""
        return Digits(self.images[which], self.labels[which], self.numbers[which])


@dataclass(frozen=True)
class Augmentation:
    """The largest changes of a digit; each change is drawn evenly up to them.

    Attributes
    ----------
    shift
        Pixels, along both axes and both ways.
    degrees
        Rotation about the centre, both ways.
    scale
        Growth or shrinkage, as a fraction.
    noise
        Standard deviation of what is added to every pixel, in grey levels.
    """

    shift: float = 1.0
    degrees: float = 10.0
    scale: float = 0.1
    noise: float = 20.0


AUGMENTATION = Augmentation()


def digits_folder() -> Path:
    """Return the folder that OOC_REAL_DATA names; an InputError if it is not set."""
    folder = os.environ.get("OOC_REAL_DATA")
    if not folder:
        raise InputError(
            f"OOC_REAL_DATA is not set; set it to the folder that holds {IMAGES} and {LABELS}"
        )
    return Path(folder)


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Read a gzipped IDX file of bytes: a magic number, the length of each axis, the bytes.

    Raises
    ------
    InputError
        If it is missing, no gzip, truncated, or not of bytes with this many axes.
    """
    expected = bytes([0, 0, 8, axes])
    try:
        with gzip.open(path) as stream:
            magic = stream.read(len(expected))
            if magic != expected:
                raise InputError(
                    f"{path} starts with 0x{magic.hex()}, not 0x{expected.hex()}: "
                    f"it is no IDX file of bytes with {axes} axes; fetch it again"
                )
            shape = struct.unpack(f">{axes}I", stream.read(4 * axes))
            body = stream.read(min(math.prod(shape), LARGEST_IDX) + 1)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; OOC_REAL_DATA names its folder") from None
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise InputError(f"{path} cannot be read: {error}; fetch it again") from None
    if len(body) != math.prod(shape):
        raise InputError(
            f"{path} is of shape {shape}, {math.prod(shape):,} bytes, but holds {len(body):,}"
            f"{' or more' if len(body) > math.prod(shape) else ''}; fetch it again"
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


def load_digits(folder: Path) -> Digits:
    """Read images and labels; an InputError if they cannot be used together."""
    images, labels = read_idx(folder / IMAGES, axes=3), read_idx(folder / LABELS, axes=1)
    if images.shape[1:] != (SIDE, SIDE):
        raise InputError(f"images in {folder} have shape {images.shape[1:]}, not {(SIDE, SIDE)}")
    if len(images) != len(labels):
        raise InputError(f"{folder} has {len(images)} images, but {len(labels)} labels")
    if labels.max(initial=0) >= CLASSES:
        raise InputError(f"{folder} has a label {labels.max()}; labels are 0 to {CLASSES - 1}")
    return Digits(images, labels, np.arange(len(images), dtype=np.uint32))


def split(digits: Digits, seed: int, held_out: int = HELD_OUT) -> tuple[Digits, Digits]:
    """Return the digits to learn from and those held out, both in random order."""
    count = len(digits.labels)
    if count <= held_out:
        raise InputError(f"there are {count} digits, not over the {held_out} to be held out")
    order = generator(seed, Purpose.HELD_OUT_DATA).permutation(count)
    return digits.take(order[held_out:]), digits.take(order[:held_out])


@exact_kernel
def warp(
    padded: np.ndarray,
    sources: np.ndarray,
    maps: np.ndarray,
    noise: np.ndarray,
    deviations: np.ndarray,
    normal: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill `out` with images seen through affine maps, bilinearly, and add noise.

    Parameters
    ----------
    padded
        (n, 31, 31) uint8: images with one row and column of zeros before them, two behind.
    sources, maps
        (rows,) the image of each row; (rows, 2, 3) its places, ``map @ (1, row, column)``.
    noise, deviations, normal
        (rows, 28, 28) random bytes; (rows,) their scale; (256,) what each byte stands for.
    out
        (rows, 28, 28) uint8.
    """
    rows, height, width = out.shape
    for r in range(rows):
        image, place = padded[sources[r]], maps[r]
        for i in range(height):
            for j in range(width):
                # Beyond the image's edge all is zero, so the nearest place there will do.
                y = min(max(place[0, 0] + place[0, 1] * i + place[0, 2] * j + 1.0, 0.0), height + 1)
                x = min(max(place[1, 0] + place[1, 1] * i + place[1, 2] * j + 1.0, 0.0), width + 1)
                top, left = int(y), int(x)
                down, right = y - top, x - left
                upper = image[top, left] * (1.0 - right) + image[top, left + 1] * right
                lower = image[top + 1, left] * (1.0 - right) + image[top + 1, left + 1] * right
                value = upper * (1.0 - down) + lower * down
                value += deviations[r] * normal[noise[r, i, j]]
                out[r, i, j] = int(min(max(value, 0.0), 255.0) + 0.5)


def draw_rows(
    padded: np.ndarray, augmentation: Augmentation, rng: np.random.Generator, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows: the image that each comes from, and what became of it."""
    sources = rng.integers(0, len(padded), rows)
    turn, growth, *shifts = rng.uniform(-1.0, 1.0, (4, rows))
    deviations = augmentation.noise * rng.random(rows)
    angle, scale = np.radians(augmentation.degrees) * turn, 1.0 + augmentation.scale * growth
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    linear = np.stack([cosine, sine, -sine, cosine], axis=1).reshape(rows, 2, 2)
    centre = (SIDE - 1) / 2
    offset = centre - centre * linear.sum(axis=2) - augmentation.shift * np.stack(shifts, axis=1)
    maps = np.concatenate([offset[:, :, None], linear], axis=2)
    noise = np.frombuffer(rng.bytes(rows * SIDE * SIDE), np.uint8).reshape(rows, SIDE, SIDE)
    images = np.empty((rows, SIDE, SIDE), np.uint8)
    warp(padded, sources, maps, noise, deviations, NORMAL, images)
    return sources, images


def expand(
    path: Path,
    digits: Digits,
    rows: int,
    seed: int = 0,
    augmentation: Augmentation = AUGMENTATION,
    threads: int | None = None,
    report: Report = silent,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write changed copies of digits: "X", "y", and each row's "source", its digit's number.

    Every chunk is a function of (seed, chunk): the bits do not depend on how many threads work,
    by default one a core. A thread works on a shard at a time, and holds one chunk of it.

    Raises
    ------
    InputError
        If the path exists or cannot be written to, or the disk is too small: before any work.
    """
    padded = np.pad(digits.images, ((0, 0), (1, 2), (1, 2)))

    def draw(number: int, first: int, count: int) -> Columns:
        rng = generator(seed, Purpose.DATA, index=number)
        sources, images = draw_rows(padded, augmentation, rng, count)
        return {"X": images, "y": digits.labels[sources], "source": digits.numbers[sources]}

    attributes = notes(digits, seed, augmentation)
    write(path, FIELDS, attributes, rows, draw, threads, report, shard_bytes=shard_bytes)


def hold_out(path: Path, digits: Digits, seed: int) -> None:
    """Write digits as they are, under the same names as `expand`."""
    with ooc.create(path, FIELDS, notes(digits, seed, None)) as writer:
        writer.append({"X": digits.images, "y": digits.labels, "source": digits.numbers})


def notes(digits: Digits, seed: int, augmentation: Augmentation | None) -> dict[str, Any]:
    """Return the attributes of a Zarr made from digits: what it is a function of."""
    checksum = zlib.crc32(digits.labels.tobytes(), zlib.crc32(digits.images.tobytes()))
    changes = asdict(augmentation) if augmentation else {}
    return {"classes": CLASSES, "digits_crc32": checksum, "seed": seed, **changes}
