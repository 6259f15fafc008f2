"""Images in one subfolder a class, by Pillow: decoded to bytes, classes by the folders' names."""

from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.arrays import ArraySource
from ooc.conversion.formats import IMAGES, Opening, importing
from ooc.conversion.source import CATEGORY, NUMBER, Column, Entries
from ooc.core.errors import DataError, InputError

# Modes of Pillow's as they are stored: grey, or three colours.
_COLOURS = {"1": "L", "L": "L", "LA": "L", "I;16": "I;16", "I": "I", "F": "F"}
# What loses nothing but transparency when it becomes a mode; in RGB any 8 bits of colour have room.
_MAY_BECOME = {"L": ("1", "L", "LA"), "I;16": ("I;16",), "I": ("I",), "F": ("F",)}
_DEEPER = ("I;16", "I;16L", "I;16B", "I", "F")
_DTYPES = {"L": np.uint8, "RGB": np.uint8, "I;16": np.uint16, "I": np.int32, "F": np.float32}


def open_images(path: Path, opening: Opening) -> "ImageSource":
    """Open a folder; a class is a folder in it, and the first image tells size and colours."""
    if not path.is_dir():
        raise InputError(f"{path} is a file; name the folder with one subfolder a class")
    folders = sorted(each for each in path.iterdir() if each.is_dir() and each.name[0] not in "._")
    files: list[Path] = []
    codes: list[int] = []
    classes: list[str] = []
    for folder in folders:
        found = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in IMAGES and file.name[0] != "." and file.is_file()
        )
        if found:
            codes += [len(classes)] * len(found)
            files += found
            classes.append(folder.name)
    if not files:
        raise InputError(
            f"{path} holds no images in subfolders; put those of each class into a folder of its "
            "own: cats/1.png, dogs/1.png"
        )
    loose = [file for file in path.iterdir() if file.suffix.lower() in IMAGES]
    skipped = {}
    if loose:
        skipped[f"{len(loose)} images"] = f"they are in {path} itself, and in no folder of a class"
    return ImageSource(path, files, np.array(codes, np.int32), classes, skipped, opening)


class ImageSource(ArraySource):
    """Image files in the order of their classes and names."""

    def __init__(
        self,
        path: Path,
        files: list[Path],
        codes: np.ndarray,
        classes: list[str],
        skipped: dict[str, str],
        opening: Opening,
    ) -> None:
        self._size, self._images, self._codes = opening.image_size, files, codes
        image = self._decoded(files[0])
        self._mode = _COLOURS.get(image.mode, "RGB")
        self._shape = self._pixels(files[0], image).shape
        also = "; grey ones have their value in each colour" if self._mode == "RGB" else ""
        dimensions = ("row", "height", "width", "colour")[: 1 + len(self._shape)]
        known: dict[str, Any] = {
            "rows": len(files),
            "was": f"images, the first {image.size} {image.mode}{also}",
        }
        pixels = Column(
            "X", NUMBER, np.dtype(_DTYPES[self._mode]), self._shape, dimensions=dimensions, **known
        )  # fmt: skip
        labels = Column(
            "y", CATEGORY, np.dtype(np.int32), rows=len(files), categories=classes,
            was="names of folders", dimensions=("row",),
        )  # fmt: skip
        super().__init__(path, {"X": pixels, "y": labels}, skipped)
        self.files = files
        self.held_bytes = 400 * len(files)

    def _decoded(self, file: Path) -> Any:
        """Return a file's image, all of it decoded."""
        pillow = importing("PIL.Image")
        try:
            with pillow.open(file) as image:
                image.load()
                return image
        except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
            raise DataError(
                f"{file} cannot be decoded: {str(error).splitlines()[0]}; restore it, or remove it "
                "from the folder"
            ) from None

    def _pixels(self, file: Path, image: Any) -> np.ndarray:
        if image.mode != self._mode:
            may = _MAY_BECOME.get(self._mode)
            if image.mode in _DEEPER if may is None else image.mode not in may:
                raise DataError(
                    f"{file} is {image.mode}, and {self._images[0]}, the first image, "
                    f"{self._mode}: as that it would not be the same; give all images one mode, "
                    "as Pillow's convert does"
                )
            image = image.convert(self._mode)
        if self._size is not None:
            height, width = self._size
            image = image.resize((width, height))
        return np.asarray(image, _DTYPES[self._mode])

    def piece_bytes(self, names: Any) -> int:
        """Return the bytes of a piece, and of an image while it is decoded."""
        return super().piece_bytes(names) + 8 * self.columns["X"].row_bytes + 2**20

    def read(self, name: str, first: int, stop: int) -> Entries:
        """Decode images, or return their classes."""
        if name == "y":
            return self._codes[first:stop]
        out = np.empty((stop - first, *self._shape), _DTYPES[self._mode])
        for place, file in enumerate(self._images[first:stop]):
            pixels = self._pixels(file, self._decoded(file))
            if pixels.shape != self._shape:
                height, width = self._shape[:2]
                raise DataError(
                    f"{file} has {pixels.shape[0]} x {pixels.shape[1]} pixels, not the {height} x "
                    f"{width} of {self._images[0]}; give all one size with --image-size "
                    f"{height}x{width}"
                )
            out[place] = pixels
        return out

    def place(self, first: int, row: int) -> str:
        """Name the file of a row."""
        return str(self._images[first + row])
