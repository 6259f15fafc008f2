"""Images: classes by folders, modes as they are stored, sizes as they are asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from ooc.conversion.formats import Opening, open_source
from ooc.conversion.images import ImageSource, open_images
from ooc.core.errors import DataError, InputError


def opened(path: Path, **options: Any) -> ImageSource:
    return open_images(path, Opening(**options))


def save(path: Path, values: np.ndarray, mode: str | None = None) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(path)
    return values


def drawn(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        (drawn(4, 3), "png"), (drawn(4, 3, 3), "png"), (drawn(4, 3, dtype="u2"), "png"),
        (drawn(4, 3, dtype="f4"), "tif"), (drawn(4, 3, dtype="i4"), "tif"), (drawn(4, 3, 3), "BMP"),
    ],
)  # fmt: skip
def test_pixels_are_what_is_stored(tmp_path: Path, values: np.ndarray, suffix: str) -> None:
    save(tmp_path / "in" / "c" / f"0.{suffix}", values)
    source, name = open_source(tmp_path / "in", None, Opening())
    assert name == "images"
    column = source.columns["X"]
    assert (column.dtype, column.shape, column.rows) == (values.dtype, values.shape, 1)
    assert column.dimensions == ("row", "height", "width", "colour")[: 1 + values.ndim]
    (piece,) = source.pieces(["X", "y"], None)
    assert_array_equal(piece.read()["X"], values[None])


def test_other_modes_become_grey_or_three_colours(tmp_path: Path) -> None:
    colours = drawn(4, 3, 3)
    save(tmp_path / "c" / "0.png", colours)
    alpha = np.dstack([colours, np.full((4, 3), 255, np.uint8)])
    save(tmp_path / "c" / "1.png", alpha)
    found = opened(tmp_path).read("X", 0, 2)
    assert_array_equal(found, [colours, colours])
    grey = drawn(4, 3)
    save(tmp_path / "b" / "0.png", grey, "LA")
    source = opened(tmp_path)
    assert source.columns["X"].was == "images, the first (3, 4) LA"
    assert_array_equal(source.read("X", 0, 1), grey[None])


def test_grey_images_among_colours_keep_their_values_and_colours_are_not_lost(
    tmp_path: Path,
) -> None:
    colours, grey = drawn(4, 3, 3), drawn(4, 3)
    save(tmp_path / "in" / "a" / "0.png", colours)
    save(tmp_path / "in" / "a" / "1.png", grey)
    source = opened(tmp_path / "in")
    assert_array_equal(source.read("X", 1, 2)[0], np.repeat(grey[..., None], 3, axis=2))
    assert source.columns["X"].was.endswith("grey ones have their value in each colour")
    save(tmp_path / "out" / "a" / "0.png", grey)
    save(tmp_path / "out" / "a" / "1.png", colours)
    with pytest.raises(DataError, match=r"1.png is RGB, and .*0.png, the first image, L: as that"):
        opened(tmp_path / "out").read("X", 0, 2)
    save(tmp_path / "in" / "b" / "0.png", drawn(4, 3, dtype="u2"))
    with pytest.raises(DataError, match=r"b/0.png is I;16, and .* the first image, RGB"):
        opened(tmp_path / "in").read("X", 0, 3)


def test_classes_are_folders_in_their_order_and_hidden_files_none(tmp_path: Path) -> None:
    for name in (
        "b/1.png",
        "b/deep/0.PNG",
        "a/7.png",
        "c/x.txt",
        ".d/0.png",
        "_e/0.png",
        "b/.z.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.lower().endswith("png"):
            save(tmp_path / name, drawn(2, 2) + len(name))
        else:
            (tmp_path / name).touch()
    save(tmp_path / "loose.png", drawn(2, 2))
    source = opened(tmp_path)
    y = source.columns["y"]
    assert (y.categories, y.rows, y.was) == (["a", "b"], 3, "names of folders")
    assert_array_equal(source.read("y", 0, 3), [0, 1, 1])
    assert_array_equal(source.read("y", 1, 2), [1])
    assert [source.place(1, row) for row in (-1, 0, 1)] == [
        f"{tmp_path}/{name}" for name in ("a/7.png", "b/1.png", "b/deep/0.PNG")
    ]
    assert_array_equal(source.read("X", 1, 2), [drawn(2, 2) + len("b/1.png")])
    assert source.skipped == {
        "1 images": f"they are in {tmp_path} itself, and in no folder of a class"
    }
    assert len(source.stamp()) == 3 and source.held_bytes == 1200
    rows = source.piece_rows(["X", "y"])
    assert source.piece_bytes(["X", "y"]) == 2 * rows * 8 + 8 * 4 + 2**20


def test_images_of_any_size_become_those_that_are_asked_for(tmp_path: Path) -> None:
    values = [
        save(tmp_path / "c" / f"{i}.png", np.full((4 + i, 9), 50 * i, np.uint8)) for i in (1, 2)
    ]
    found = opened(tmp_path, image_size=(2, 5)).read("X", 0, 2)
    assert_array_equal(found, [np.full((2, 5), each[0, 0]) for each in values])
    with pytest.raises(DataError) as caught:
        opened(tmp_path).read("X", 0, 2)
    assert str(caught.value) == (
        f"{tmp_path}/c/2.png has 6 x 9 pixels, not the 5 x 9 of {tmp_path}/c/1.png; give all one "
        "size with --image-size 5x9"
    )


def test_what_holds_no_images_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "loose.png", drawn(2, 2))
    for path, message in (
        (tmp_path / "loose.png", "{} is a file; name the folder with one subfolder a class"),
        (tmp_path, "{} holds no images in subfolders; put those of each class into a folder of its "
         "own: cats/1.png, dogs/1.png"),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            opened(path)
        assert str(caught.value) == message.format(path)
