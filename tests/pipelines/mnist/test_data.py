"""The digits' pipeline: files read or refused, rows that no thread count changes, accuracy."""

import gzip
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import mnist
import mnist_digits
import numpy as np
import pytest
import zarr
from mnist_digits import Augmentation, Digits
from scipy import ndimage

from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, generator

NOTHING = Augmentation(shift=0, degrees=0, scale=0, noise=0)


def idx(values: np.ndarray, kind: int = 8) -> bytes:
    axes = values.ndim
    return bytes([0, 0, kind, axes]) + struct.pack(f">{axes}I", *values.shape) + values.tobytes()


def write_files(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    (folder / mnist_digits.IMAGES).write_bytes(gzip.compress(idx(images)))
    (folder / mnist_digits.LABELS).write_bytes(gzip.compress(idx(labels)))


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
    np.testing.assert_array_equal(mnist_digits.read_idx(tmp_path / "a.gz", axes=len(shape)), values)


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
        mnist_digits.read_idx(path, axes=3)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_idx_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.gz does not exist; OOC_REAL_DATA"):
        mnist_digits.read_idx(tmp_path / "absent.gz", axes=3)


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
        mnist_digits.load_digits(tmp_path)


def test_split_is_a_function_of_the_seed_and_loses_nothing(rng: np.random.Generator) -> None:
    digits = random_digits(100, rng)
    training, held_out = mnist_digits.split(digits, seed=3, held_out=20)
    assert len(held_out.labels) == 20
    both = np.concatenate([training.numbers, held_out.numbers])
    np.testing.assert_array_equal(np.sort(both), np.sort(digits.numbers))
    again = mnist_digits.split(digits, seed=3, held_out=20)[1]
    np.testing.assert_array_equal(again.numbers, held_out.numbers)
    other = mnist_digits.split(digits, seed=4, held_out=20)[1]
    assert set(other.numbers) != set(held_out.numbers)
    with pytest.raises(InputError, match="100 digits, not over the 100"):
        mnist_digits.split(digits, seed=3, held_out=100)


def test_no_change_gives_the_identical_image(rng: np.random.Generator) -> None:
    digits = random_digits(50, rng)
    padded = np.pad(digits.images, ((0, 0), (1, 2), (1, 2)))
    sources, images = mnist_digits.draw_rows(padded, NOTHING, generator(0, Purpose.DATA), 200)
    np.testing.assert_array_equal(images, digits.images[sources])


def test_warp_is_bilinear_interpolation_with_zeros_outside(rng: np.random.Generator) -> None:
    digits = random_digits(40, rng)
    padded = np.pad(digits.images, ((0, 0), (1, 2), (1, 2)))
    sources = np.arange(40)
    maps = rng.normal([[0, 1, 0], [0, 0, 1]], [[6, 0.2, 0.2], [6, 0.2, 0.2]], (40, 2, 3))
    silence = np.zeros((40, 28, 28), np.uint8)
    warped = np.empty((40, 28, 28), np.uint8)
    mnist_digits.warp(padded, sources, maps, silence, np.zeros(40), mnist_digits.NORMAL, warped)
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
    _, images = mnist_digits.draw_rows(dot, augmentation, generator(0, Purpose.DATA), 500)
    light = images.sum(axis=(1, 2))
    row = (images.sum(axis=2) @ np.arange(28)) / light
    column = (images.sum(axis=1) @ np.arange(28)) / light
    moved = np.hypot(row - 3.5, column - 13.5)
    assert 0.8 * largest < moved.max() < largest + 0.3


def test_noise_has_the_spread_that_was_asked_for() -> None:
    grey = np.full((1, 31, 31), 128, np.uint8)
    noisy = Augmentation(shift=0, degrees=0, scale=0, noise=20)
    _, images = mnist_digits.draw_rows(grey, noisy, generator(0, Purpose.DATA), 2000)
    inside = images[:, 1:-1, 1:-1].reshape(2000, -1)
    spread = inside.std(axis=1)
    assert spread.max() < 21.5
    # Even between 0 and 20: the mean is 10, its standard error 20 / sqrt(12 * 2000) = 0.13.
    assert abs(spread.mean() - 10) < 0.6
    assert abs(inside.mean() - 128) < 0.1


def test_expansion_does_not_depend_on_threads_and_keeps_labels(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    training, held_out = mnist_digits.split(random_digits(300, rng), seed=1, held_out=100)
    rows, shard_bytes = 7 * 668 + 123, 2 * 668 * 784
    digests = set()
    for threads in (1, 3):
        path = tmp_path / f"{threads}.zarr"
        mnist_digits.expand(path, training, rows, seed=5, threads=threads, shard_bytes=shard_bytes)
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
    training, held_out = mnist_digits.split(random_digits(60, rng), seed=1, held_out=20)
    mnist_digits.expand(tmp_path / "same.zarr", training, 1500, augmentation=NOTHING)
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
        mnist_digits.expand(tmp_path / "big.zarr", random_digits(20, rng), 10**9)
    assert list(tmp_path.iterdir()) == []


def test_a_zarr_from_other_digits_is_not_used_again(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path, digits = tmp_path / "held-out.zarr", random_digits(20, rng)
    made = []

    def make() -> None:
        made.append(path)
        mnist_digits.hold_out(path, digits, seed=2)

    for _ in range(2):
        assert mnist.open_or_make(path, mnist_digits.notes(digits, 2, None), make).rows == 20
    assert len(made) == 1
    np.testing.assert_array_equal(arrays(path)["X"], digits.images)
    other = mnist_digits.notes(random_digits(20, rng), 2, None)
    with pytest.raises(InputError, match=r"was made with digits_crc32 .* remove it"):
        mnist.open_or_make(path, other, make)


def test_the_picture_needs_no_mistakes(tmp_path: Path) -> None:
    labels = np.arange(10).repeat(3)
    mnist.draw_confusion(tmp_path / "right.png", labels, labels)
    assert (tmp_path / "right.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "{images} does not exist"),
        (["--rows", "many"], "'many' is not a positive count"),
        (["--memory", "little"], "'little' is not a size"),
        (["--epochs", "0"], "0 epochs"),
        (["--rows", "100"], "batches of 256"),
        (["--lr", "-1"], "lr must be a positive finite number"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("OOC_REAL_DATA", str(tmp_path))
    assert mnist.main([*arguments, "--folder", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message.format(images=mnist_digits.IMAGES) in shown.err
    assert shown.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_the_digits_the_script_ends_with_status_2(tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "OOC_REAL_DATA"}
    command = [sys.executable, mnist.__file__, "--folder", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("mnist: OOC_REAL_DATA is not set; set it to the folder")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(
    not os.environ.get("OOC_REAL_DATA"),
    reason="OOC_REAL_DATA is not set; it names the folder that holds the MNIST digits",
)
def test_softmax_learns_the_real_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mnist, "CHOICES_OF_C", (0.1,))
    arguments = ["--rows", "40k", "--lr", "4e-3", "--folder", str(tmp_path)]
    assert mnist.main(arguments) == 0
    table = capsys.readouterr().out.splitlines()
    accuracy = {line.split("  ")[0]: float(line.split()[-1]) for line in table[1:3]}
    assert accuracy["ooc softmax"] > 0.88
    assert accuracy["scikit-learn, C=0.1"] > 0.88
    picture = tmp_path / "softmax-confusion.png"
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    unseen = arrays(tmp_path / "held-out-seed0.zarr")["source"]
    expanded = tmp_path / "expanded-40000-seed0.zarr"
    assert len(set(unseen.tolist())) == 2000
    assert not set(unseen.tolist()) & set(arrays(expanded)["source"].tolist())

    def parameters() -> str:
        return json.loads((tmp_path / "softmax-run" / "run.json").read_text())["parameters_sha256"]

    before, first = parameters(), expanded.stat().st_mtime_ns
    monkeypatch.setattr(
        mnist, "learn_in_memory", lambda *digits: mnist.Score("none", "nothing", 0, 0, 0)
    )
    assert mnist.main(arguments) == 0
    assert "used again" in capsys.readouterr().out
    assert expanded.stat().st_mtime_ns == first
    assert parameters() == before


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("OOC_REAL_DATA"),
    reason="OOC_REAL_DATA is not set; it names the folder that holds the MNIST digits",
)
def test_a_network_reads_the_real_digits_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the same network in PyTorch where that is installed."""
    monkeypatch.setattr(
        mnist, "learn_in_memory", lambda *digits: mnist.Score("none", "nothing", 0, 0, 0)
    )
    arguments = ["--model", "mlp", "--hidden", "64", "--rows", "40k", "--folder", str(tmp_path)]
    assert mnist.main(arguments) == 0
    shown = capsys.readouterr()
    accuracy = {line[:22].strip(): float(line.split()[-1]) for line in shown.out.splitlines()[1:4]}
    assert accuracy["ooc mlp"] > 0.9
    if "PyTorch mlp" in accuracy:
        assert accuracy["PyTorch mlp"] == pytest.approx(accuracy["ooc mlp"], abs=0.01)
    else:
        assert "pip install '.[torch]'" in shown.err


def test_a_network_that_cannot_be_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", "mlp", "--hidden", "8,0", "--folder", str(tmp_path / "out")]
    assert mnist.main(arguments) == 2
    assert "hidden width must be a whole number of at least 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
