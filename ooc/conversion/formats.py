"""The table of formats: by suffix, who opens a source, and the extra that brings the parser."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from ooc.conversion.source import Source
from ooc.core.destination import local_path
from ooc.core.errors import InputError
from ooc.core.numbers import entry_of

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm")
PACKED = (".gz",)


@dataclass(frozen=True)
class Opening:
    """What formats need to know beside the path.

    Attributes
    ----------
    dense
        Write sparse rows as dense ones.
    zero_based
        Indices of svmlight begin at 0.
    image_size
        Height and width to which images are resized.
    columns
        Names of the columns that are to be the features, if they were given.
    memory
        Bytes that opening may take for what is read whole.
    scratch
        Folder in which a source may keep what it puts in another order; it is there when rows are
        read, and what an earlier call of the same conversion left is in it.
    say
        Is told what is done before rows are read, where that takes long.
    """

    dense: bool = False
    zero_based: bool = False
    image_size: tuple[int, int] | None = None
    columns: tuple[str, ...] = ()
    memory: int = 2**30
    scratch: Path = Path()
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    suffixes
        By which its files are known.
    opens
        Its function: a path and an `Opening` become a `Source`.
    extra, packages
        What `pip install 'ooc[extra]'` brings, and what is imported.
    library_bytes
        What these packages take once they are imported and at work, as measured.
    """

    suffixes: tuple[str, ...]
    opens: str
    extra: str = ""
    packages: tuple[str, ...] = ()
    library_bytes: int = 0


MIB = 2**20
FORMATS = {
    "parquet": Format(
        (".parquet", ".pq"),
        "ooc.conversion.parquet:open_parquet",
        "parquet",
        ("pyarrow",),
        160 * MIB,
    ),
    "csv": Format(
        (".csv", ".tsv"), "ooc.conversion.csv_text:open_csv", "parquet", ("pyarrow",), 160 * MIB
    ),
    "npy": Format((".npy",), "ooc.conversion.numpy_files:open_npy"),
    "npz": Format((".npz",), "ooc.conversion.numpy_files:open_npz"),
    "hdf5": Format(
        (".h5", ".hdf5", ".hdf"), "ooc.conversion.hdf5:open_hdf5", "hdf5", ("h5py",), 32 * MIB
    ),
    "netcdf": Format(
        (".nc", ".nc4", ".cdf"),
        "ooc.conversion.netcdf:open_netcdf",
        "netcdf",
        ("xarray", "h5netcdf"),
        192 * MIB,
    ),
    "svmlight": Format(
        (".svm", ".svmlight", ".libsvm"),
        "ooc.conversion.svmlight:open_svmlight",
        "sklearn",
        ("sklearn",),
        160 * MIB,
    ),
    "h5ad": Format(
        (".h5ad",), "ooc.conversion.h5ad:open_h5ad", "anndata", ("anndata", "h5py"), 288 * MIB
    ),
    "images": Format(IMAGES, "ooc.conversion.images:open_images", "images", ("PIL",), 32 * MIB),
    "zarr": Format((".zarr", ".zip"), "ooc.conversion.zarr_group:open_zarr"),
}


def open_source(path: str | Path, name: str | None, opening: Opening) -> tuple[Source, str]:
    """Open a source by its suffix, by what is in its folder, or as the named format.

    Raises
    ------
    InputError
        If it is not there, nobody knows the format, its package is not installed, or it cannot
        be read.
    """
    place = local_path(path, "sources of a conversion", written=False)
    if not place.exists():
        raise InputError(f"{path} does not exist; check the path")
    name = name or _format_of(place)
    described = entry_of("format", FORMATS, name)
    for package in described.packages:
        if find_spec(package) is None:
            raise InputError(
                f"{path} is read by {package}, which is not installed; "
                f"pip install 'ooc[{described.extra}]' brings it"
            )
    opens: Callable[[Path, Opening], Source] = resolve_name(described.opens)
    return opens(place, opening), name


def files_of(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return a file, or all files of a folder with one of the suffixes, sorted; hidden ones not."""
    if path.is_file():
        return [path]
    found = [
        file
        for file in path.rglob("*")
        if suffix_of(file) in suffixes
        and file.is_file()
        and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
    ]
    return sorted(found)


def suffix_of(path: Path) -> str:
    """Return what a file's name ends with, in small letters; of a packed one what is before that.

    Examples
    --------
    >>> suffix_of(Path("a.CSV.gz")), suffix_of(Path("b.v2.npy"))
    ('.csv', '.npy')
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _format_of(path: Path) -> str:
    if path.is_dir():
        if any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray")):
            return "zarr"
        for name in ("parquet", "csv", "images"):
            if files_of(path, FORMATS[name].suffixes):
                return name
        raise InputError(
            f"{path} is a folder of nothing that is known: no Zarr group, no Parquet or CSV files, "
            "no images in one subfolder a class; name the format with format= (--format)"
        )
    suffix = suffix_of(path)
    for name, described in FORMATS.items():
        if suffix in described.suffixes and name != "images":
            return name
    known = ", ".join(
        suffix for name, each in FORMATS.items() if name != "images" for suffix in each.suffixes
    )
    raise InputError(
        f"{path} has the suffix {suffix or 'of nothing'!r}, which is none of {known}; rename it, "
        "or name its format with format= (--format)"
    )


@lru_cache
def importing(package: str) -> Any:
    """Import what an extra brings; `open_source` has looked whether it is there."""
    return resolve_name(package)
