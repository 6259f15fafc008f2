"""The digits: files read or refused, and rows that no thread count changes."""

import gzip
import hashlib
import shutil
import struct
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy import ndimage

from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, generator
from pipelines.mnist import data
from pipelines.mnist.data import Augmentation, Digits

NOTHING = Augmentation(shift=0, degrees=0, scale=0, noise=0)


def idx(values: np.ndarray, kind: int = 8) -> bytes:
    axes = values.ndim
    return bytes([0, 0, kind, axes]) + struct.pack(f">{axes}I", *values.shape) + values.tobytes()


def write_files(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    (folder / data.IMAGES).write_bytes(gzip.compress(idx(images)))
    (folder / data.LABELS).write_bytes(gzip.compress(idx(labels)))


def random_digits(count: int, rng: np.random.Generator) -> Digits:
    """Digits whose numbers are not their places, so that mixing up the two is seen."""
    numbers = rng.permutation(10 * count)[:count].astype(np.uint32)
    images = rng.integers(0, 256, (count, 28, 28), np.uint8)
    return Digits(images, rng.integers(0, 10, count, np.uint8), numbers)


def arrays(path: Path) -> dict[str, np.ndarray]:
    group = zarr.open_group(path, mode="r")
    return {name: group[name][...] for name in ("X", "y", "source")}


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = b"".join(bytes(path.relative_to(folder)) + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("shape", [(7,), (5, 28, 28), (0, 28, 28)])
def test_an_idx_file_is_read_back(
    tmp_path: Path, rng: np.random.Generator, shape: tuple[int, ...]
) -> None:
    values = rng.integers(0, 256, shape, np.uint8)
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(values)))
    np.testing.assert_array_equal(data.read_idx(tmp_path / "a.gz", axes=len(shape)), values)


GOOD = idx(np.arange(28, dtype=np.uint8).repeat(100).reshape(2, 50, 28))
BAD_FILES = {
    "is no gzip": (GOOD, "cannot be read: Not a gzipped file"),
    "is cut off": (gzip.compress(GOOD)[:-12], "cannot be read: Compressed file ended"),
    "has a flipped bit": (
        bytes(byte ^ (place == 40) for place, byte in enumerate(gzip.compress(GOOD))),
        "cannot be read: ",
    ),
    "is empty": (b"", "starts with 0x, not 0x00000803"),
    "has another dtype": (
        gzip.compress(idx(np.zeros((2, 2, 2), np.uint8), kind=13)),
        "starts with 0x00000d03, not 0x00000803",
    ),
    "has other axes": (
        gzip.compress(idx(np.zeros(9, np.uint8))),
        "starts with 0x00000801, not 0x00000803",
    ),
    "ends in its header": (gzip.compress(GOOD[:9]), "cannot be read: unpack requires"),
    "has a byte too few": (gzip.compress(GOOD[:-1]), "2,800 bytes, but holds 2,799;"),
    "has a byte too many": (gzip.compress(GOOD + b"x"), "but holds 2,801 or more;"),
    "promises the moon": (gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12), "but holds 0;"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_idx_file_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    stored, message = BAD_FILES[what]
    path = tmp_path / "bad.gz"
    path.write_bytes(stored)
    with pytest.raises(InputError) as caught:
        data.read_idx(path, axes=3)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_idx_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.gz does not exist; OOC_REAL_DATA"):
        data.read_idx(tmp_path / "absent.gz", axes=3)


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((3, 28, 27), [0, 1, 2], r"shape \(28, 27\), not \(28, 28\)"),
        ((3, 28, 28), [0, 1], "3 images, but 2 labels"),
        ((3, 28, 28), [0, 10, 2], "a label 10; labels are 0 to 9"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(
    tmp_path: Path, shape: tuple[int, ...], labels: list[int], message: str
) -> None:
    write_files(tmp_path, np.zeros(shape, np.uint8), np.array(labels, np.uint8))
    with pytest.raises(InputError, match=message):
        data.load_digits(tmp_path)


def test_split_is_a_function_of_the_seed_and_loses_nothing(rng: np.random.Generator) -> None:
    digits = random_digits(100, rng)
    training, held_out = data.split(digits, seed=3, held_out=20)
    assert len(held_out.labels) == 20
    both = np.concatenate([training.numbers, held_out.numbers])
    np.testing.assert_array_equal(np.sort(both), np.sort(digits.numbers))
    again = data.split(digits, seed=3, held_out=20)[1]
    np.testing.assert_array_equal(again.numbers, held_out.numbers)
    other = data.split(digits, seed=4, held_out=20)[1]
    assert set(other.numbers) != set(held_out.numbers)
    with pytest.raises(InputError, match="100 digits, not over the 100"):
        data.split(digits, seed=3, held_out=100)


def test_no_change_gives_the_identical_image(rng: np.random.Generator) -> None:
    digits = random_digits(50, rng)
    padded = np.pad(digits.images, ((0, 0), (1, 2), (1, 2)))
    sources, images = data.draw_rows(padded, NOTHING, generator(0, Purpose.DATA), 200)
    np.testing.assert_array_equal(images, digits.images[sources])


def test_warp_is_bilinear_interpolation_with_zeros_outside(rng: np.random.Generator) -> None:
    digits = random_digits(40, rng)
    padded = np.pad(digits.images, ((0, 0), (1, 2), (1, 2)))
    sources = np.arange(40)
    maps = rng.normal([[0, 1, 0], [0, 0, 1]], [[6, 0.2, 0.2], [6, 0.2, 0.2]], (40, 2, 3))
    silence = np.zeros((40, 28, 28), np.uint8)
    warped = np.empty((40, 28, 28), np.uint8)
    data.warp(padded, sources, maps, silence, np.zeros(40), data.NORMAL, warped)
    for image, place, found in zip(digits.images, maps, warped, strict=True):
        expected = ndimage.affine_transform(
            image.astype(float), place[:, 1:], place[:, 0], order=1, mode="grid-constant"
        )
        assert np.abs(expected - found).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("augmentation", "largest"),
    [
        (Augmentation(shift=3, degrees=0, scale=0, noise=0), 3 * 2**0.5),
        (Augmentation(shift=0, degrees=30, scale=0, noise=0), 2 * 10 * np.sin(np.radians(15))),
        (Augmentation(shift=0, degrees=0, scale=0.3, noise=0), 10 * 0.3),
    ],
    ids=["shift", "degrees", "scale"],
)
def test_a_change_moves_things_and_not_too_far(augmentation: Augmentation, largest: float) -> None:
    dot = np.zeros((1, 31, 31), np.uint8)
    dot[0, 1 + 3 : 1 + 5, 1 + 13 : 1 + 15] = 255  # around (3.5, 13.5), 10 above the centre
    _, images = data.draw_rows(dot, augmentation, generator(0, Purpose.DATA), 500)
    light = images.sum(axis=(1, 2))
    row = (images.sum(axis=2) @ np.arange(28)) / light
    column = (images.sum(axis=1) @ np.arange(28)) / light
    moved = np.hypot(row - 3.5, column - 13.5)
    assert 0.8 * largest < moved.max() < largest + 0.3


def test_noise_has_the_spread_that_was_asked_for() -> None:
    grey = np.full((1, 31, 31), 128, np.uint8)
    noisy = Augmentation(shift=0, degrees=0, scale=0, noise=20)
    _, images = data.draw_rows(grey, noisy, generator(0, Purpose.DATA), 2000)
    inside = images[:, 1:-1, 1:-1].reshape(2000, -1)
    spread = inside.std(axis=1)
    assert spread.max() < 21.5
    # Even between 0 and 20: the mean is 10, its standard error 20 / sqrt(12 * 2000) = 0.13.
    assert abs(spread.mean() - 10) < 0.6
    assert abs(inside.mean() - 128) < 0.1


def test_expansion_does_not_depend_on_threads_and_keeps_labels(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    training, held_out = data.split(random_digits(300, rng), seed=1, held_out=100)
    rows, shard_bytes = 7 * 668 + 123, 2 * 668 * 784
    digests = set()
    for threads in (1, 3):
        path = tmp_path / f"{threads}.zarr"
        data.expand(path, training, rows, seed=5, threads=threads, shard_bytes=shard_bytes)
        digests.add(digest(path))
    assert len(digests) == 1
    found = arrays(path)
    assert found["X"].shape == (rows, 28, 28)
    assert found["X"].dtype == np.uint8
    label_of = dict(zip(training.numbers.tolist(), training.labels.tolist(), strict=True))
    assert [label_of[source] for source in found["source"].tolist()] == found["y"].tolist()
    assert not set(found["source"].tolist()) & set(held_out.numbers.tolist())
    assert set(found["source"].tolist()) == set(training.numbers.tolist())
    assert len(np.unique(found["X"].reshape(rows, -1), axis=0)) == rows


def test_unchanged_rows_are_their_sources(tmp_path: Path, rng: np.random.Generator) -> None:
    training, held_out = data.split(random_digits(60, rng), seed=1, held_out=20)
    data.expand(tmp_path / "same.zarr", training, 1500, augmentation=NOTHING)
    found = arrays(tmp_path / "same.zarr")
    image_of = dict(zip(training.numbers.tolist(), training.images, strict=True))
    expected = np.stack([image_of[source] for source in found["source"].tolist()])
    np.testing.assert_array_equal(found["X"], expected)
    seen = {image.tobytes() for image in found["X"]}
    assert not seen & {image.tobytes() for image in held_out.images}


def test_a_disk_too_small_is_refused_before_any_work(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**30, 2**29, 2**29))
    with pytest.raises(InputError, match=r"will take about .* GiB, but .* has 512 MiB free"):
        data.expand(tmp_path / "big.zarr", random_digits(20, rng), 10**9)
    assert list(tmp_path.iterdir()) == []
