"""Handwritten digits: 8,000 become millions of rows on disk, and softmax learns from them.

2,000 of the 10,000 MNIST test digits are held out. The others are shifted, turned, scaled and made
noisy at random into a Zarr that may be larger than memory. What softmax learns from it out of core
is compared with what scikit-learn's LogisticRegression learns from the 8,000 in memory.
"""

import argparse
import gzip
import math
import os
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

import ooc
from ooc.compiled import exact_kernel
from ooc.dataset import Dataset
from ooc.errors import DivergedError, InputError
from ooc.generate import fill
from ooc.memory import format_size, parse_count
from ooc.metrics import Report, silent
from ooc.plan import budget_of
from ooc.process import peak_bytes
from ooc.progress import ProgressDisplay
from ooc.rng import Purpose, generator
from ooc.writer import SHARD_BYTES, Columns, Field, create

IMAGES = "mnist-t10k-images-idx3-ubyte.gz"
LABELS = "mnist-t10k-labels-idx1-ubyte.gz"
LARGEST_IDX = 2**28
SIDE = 28
CLASSES = 10
HELD_OUT = 2000
FIELDS = {"X": Field("uint8", (SIDE, SIDE)), "y": Field("uint8"), "source": Field("uint32")}
CHOICES_OF_C = (0.03, 0.1, 0.3, 1.0)
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


@dataclass(frozen=True)
class Score:
    """How well the held-out digits are read by one way of learning."""

    name: str
    learned_from: str
    seconds: float
    loss: float
    accuracy: float


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

    with create(path, FIELDS, notes(digits, seed, augmentation), shard_bytes=shard_bytes) as writer:
        fill(writer, rows, draw, threads, report)


def hold_out(path: Path, digits: Digits, seed: int) -> None:
    """Write digits as they are, under the same names as `expand`."""
    with create(path, FIELDS, notes(digits, seed, None)) as writer:
        writer.append({"X": digits.images, "y": digits.labels, "source": digits.numbers})


def notes(digits: Digits, seed: int, augmentation: Augmentation | None) -> dict[str, Any]:
    """Return the attributes of a Zarr made from digits: what it is a function of."""
    checksum = zlib.crc32(digits.labels.tobytes(), zlib.crc32(digits.images.tobytes()))
    changes = asdict(augmentation) if augmentation else {}
    return {"classes": CLASSES, "digits_crc32": checksum, "seed": seed, **changes}


def open_or_make(path: Path, expected: Mapping[str, Any], make: Callable[[], None]) -> Dataset:
    """Open a Zarr, made first if it is not there; an InputError if its notes are not expected."""
    if not path.exists():
        make()
    dataset = ooc.open(path)
    for name, value in expected.items():
        if (found := dataset.attributes.get(name)) != value:
            raise InputError(
                f"{path} was made with {name} {found}, not {value}; remove it, or choose another "
                "folder with --folder"
            )
    return dataset


def learn_in_memory(training: Digits, held_out: Digits) -> Score:
    """Score scikit-learn's LogisticRegression, its C chosen on a fifth of the training digits."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    def fitted(digits: Digits, c: float) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=1000).fit(_flat(digits), digits.labels)

    begun = time.perf_counter()
    fifth = len(training.labels) // 5
    validation, rest = training.take(slice(fifth)), training.take(slice(fifth, None))
    x, y = _flat(validation), validation.labels
    best = max(CHOICES_OF_C, key=lambda c: fitted(rest, c).score(x, y))
    model = fitted(training, best)
    seconds = time.perf_counter() - begun
    x, y = _flat(held_out), held_out.labels
    loss = log_loss(y, model.predict_proba(x), labels=model.classes_)
    learned_from = f"{len(training.labels):,} digits in memory"
    return Score(f"scikit-learn, C={best:g}", learned_from, seconds, loss, model.score(x, y))


def draw_confusion(path: Path, labels: np.ndarray, predictions: np.ndarray) -> None:
    """Draw how often each digit is read as each other, as a PNG: only mistakes are coloured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    right = np.diag(counts)
    mistakes = counts - np.diag(right)
    most = max(1, mistakes.max())
    worst = np.argsort(-mistakes, axis=None, kind="stable")[:3].tolist()
    named = [f"{cell // 10} as {cell % 10} ({mistakes.flat[cell]})" for cell in worst]

    figure = Figure(figsize=(8.4, 7.1), layout="constrained")
    FigureCanvasAgg(figure)
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
    figure.savefig(path, dpi=120)


def run(options: argparse.Namespace) -> None:
    """Expand, train, evaluate, compare, draw and print."""
    rows, seed, memory = parse_count(options.rows), options.seed, options.memory
    budget, optimizer = budget_of(memory), ooc.optim.adam(options.lr)
    if options.epochs < 1 or not 1 <= options.batch_size <= rows:
        raise InputError(
            f"{options.epochs} epochs with batches of {options.batch_size} are not possible: both "
            f"must be at least 1, and a batch at most the {rows:,} rows"
        )
    training, held_out = split(load_digits(digits_folder()), seed)
    expanded_path = options.folder / f"expanded-{rows}-seed{seed}.zarr"
    unseen_path = options.folder / f"held-out-seed{seed}.zarr"

    def write_expanded() -> None:
        with ProgressDisplay("expand") as report:
            expand(expanded_path, training, rows, seed, report=report)

    def write_unseen() -> None:
        hold_out(unseen_path, held_out, seed)

    unseen = open_or_make(unseen_path, notes(held_out, seed, None), write_unseen)
    begun, reused = time.perf_counter(), expanded_path.exists()
    expanded = open_or_make(expanded_path, notes(training, seed, AUGMENTATION), write_expanded)
    expansion = "used again" if reused else f"{time.perf_counter() - begun:.1f} s"

    model = ooc.models.Softmax(classes=CLASSES, scale=1 / 255)
    trainer = ooc.Trainer(model, optimizer, options.batch_size, memory, seed)
    run_folder, picture = options.folder / "softmax-run", options.folder / "confusion.png"
    shutil.rmtree(run_folder, ignore_errors=True)
    with ProgressDisplay("train") as report:
        trained = trainer.fit(expanded, options.epochs, run_folder, report)
    with ProgressDisplay("evaluate") as report:
        measured = trained.evaluate(unseen, memory, report)
    draw_confusion(picture, held_out.labels, trained.predict(unseen, memory=memory))
    results = trained.results
    learned_from, seconds = f"{rows:,} rows out of core", results["seconds"]
    score = Score("ooc softmax", learned_from, seconds, measured["loss"], measured["accuracy"])
    _print_table([score, learn_in_memory(training, held_out)], len(held_out.labels))
    print(f"expansion  {expansion}")
    print(f"training   {results['rows_per_second']:,.0f} rows/s, {results['steps']:,} steps")
    sizes = [results["memory_peak_bytes"], results["memory_projected_bytes"], budget, peak_bytes()]
    peak, projected, allowed, whole = map(format_size, sizes)
    print(f"memory     peak {peak} of {allowed} (projected {projected}), with scikit-learn {whole}")
    print(f"saved      {run_folder}, {picture}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status, 2 for bad input."""
    parser = argparse.ArgumentParser(
        description="Expand MNIST digits to any number of rows and train softmax on them.",
        epilog=f"OOC_REAL_DATA names the folder that holds {IMAGES} and {LABELS}.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rows", default="4M", help="rows to expand to, of 789 bytes each")
    parser.add_argument("--memory", default="1GiB", help="bytes to train and evaluate in")
    parser.add_argument("--folder", type=Path, default=Path("mnist-data"), help="for all results")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the rows")
    parser.add_argument("--batch-size", type=int, default=256, help="rows of a step")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of Adam")
    parser.add_argument("--seed", type=int, default=0, help="everything random is a function of it")
    options = parser.parse_args(arguments)
    try:
        run(options)
    except (InputError, DivergedError) as error:
        print(f"mnist: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _flat(digits: Digits) -> np.ndarray:
    return digits.images.reshape(len(digits.images), -1) / np.float32(255)


def _print_table(scores: Sequence[Score], digits: int) -> None:
    print(f"{'':<22}{'learned from':<28}{'seconds':>8}{'log loss':>10}{'accuracy':>10}")
    for each in scores:
        numbers = f"{each.seconds:>8.1f}{each.loss:>10.4f}{each.accuracy:>10.4f}"
        print(f"{each.name:<22}{each.learned_from:<28}{numbers}")
    accuracy = scores[0].accuracy
    error = math.sqrt(accuracy * (1 - accuracy) / digits)
    print(f"on {digits:,} digits held out; the standard error of the accuracy is {error:.4f}\n")


if __name__ == "__main__":
    sys.exit(main())
