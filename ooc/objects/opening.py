"""One door for a path, a URL, and the objects of other libraries."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from ooc.core.errors import InputError
from ooc.objects.anndata_objects import open_anndata
from ooc.objects.backing import Opened
from ooc.objects.labelled_arrays import open_dask, open_xarray
from ooc.objects.named_arrays import open_mapping
from ooc.objects.zarr_objects import open_icechunk, open_zarr
from ooc.store.addresses import StorageOptions
from ooc.store.dataset import Dataset
from ooc.store.feature_choice import Columns
from ooc.store.roles import RoleName
from ooc.store.several import open as open_path
from ooc.store.transforms import transformed

# By the package that an object's class is of: packages that nobody has imported stay so.
OPENERS: dict[str, Callable[[Any, Opened], Dataset]] = {
    "zarr": open_zarr,
    "xarray": open_xarray,
    "dask": open_dask,
    "anndata": open_anndata,
    "icechunk": open_icechunk,
}


def open(
    source: Any,
    features: str | Sequence[str] | None = None,
    target: RoleName = None,
    weight: RoleName = None,
    missing: str = "raise",
    storage_options: StorageOptions | None = None,
    columns: Columns | None = None,
    transform: str | None = None,
) -> Dataset:
    """Open data in Zarr as a dataset; only metadata are read.

    Arrays are decoded as their attributes declare, by the CF conventions (``scale_factor``,
    ``add_offset``, ``_FillValue``, ``missing_value``, ``valid_min``, ``valid_max``,
    ``valid_range``, ``_Unsigned``): a missing value is read as NaN. Times stay numbers. The fill
    value of a version 2 array, unless zero, is a ``_FillValue`` beside ``_ARRAY_DIMENSIONS``.

    A URL is read through fsspec, with the packages of ``pip install 'ooc[remote]'``. Errors that
    pass (5xx, throttling, a lost connection, silence) are retried with growing pauses, within
    bounds that `ooc.store.answers` tells, and counted. Each reader thread waits for some MiB at a
    time, so that on a far store more ``readers`` hide its latency.

    Parameters
    ----------
    source
        One of these; nothing is copied of what lies in Zarr:

        - the folder of a Zarr group (version 2 or 3), a zip archive of one, a file of Kerchunk
          references (``.json``), or a URL: ``s3://``, ``gs://``, ``https://``, ``memory://``, or
          any other that fsspec knows;
        - several of these, as a list or as a pattern such as ``"20*.zarr"``, as one dataset: blocks
          of all of them are in one order, windows mix across them, and messages name a row by its
          store. They have the same roles, and rows of one shape;
        - a ``zarr.Group``, or a ``zarr.Array``, which is then the features; an Icechunk session;
        - an ``xarray.Dataset``, or an ``xarray.DataArray``, which is then the features, and a dask
          array: of Zarr as it was opened, or a run of its rows. What is computed from it, or held
          in memory, is written once to a temporary store, which is said;
        - a dict of arrays by name, of Zarr, Dask or NumPy, such as ``{"X": counts, "y": outcome}``;
          they are taken in the same way;
        - an ``anndata.AnnData``; a backed one is copied out of its file in the same way.
    features
        Name of the features array, by default "X"; one row is one sample, of any number of axes.
        An array of a group in the group is named like "obsm/X_pca". It may be a sparse matrix: a
        group of "data", "indices" and "indptr" in CSR, as AnnData and SciPy have it, with its
        attribute "shape"; where its rows begin is then read through once.

        Several, such as ``["t2m", "msl"]`` or "t2m,msl", stand side by side in a row: the numbers
        of each, decoded by its own conventions and flattened, in this order. If they are of one
        type, so is the row; else it is float32 where that holds all numbers of their types, and
        float64 where not. Each may have columns of its own: "obs/score,obsm/X_pca[0:10]". They are
        dense, and the target is none of them.
    target, weight
        Names of the targets and of the sample weights, one number a row. By default "y" and
        "weight" where the group has them and they are no coordinates; False for none. How many
        numbers a target has, the model checks. A target may be text, or a categorical column of
        AnnData, for models that predict labels.
    missing
        "raise" or "fill". Zarr leaves out chunks that hold nothing but the fill value; one that
        was lost looks the same, so that only you can say which it is.
    storage_options
        For a URL, what fsspec's file system of its scheme takes, such as ``endpoint_url``,
        ``key``, ``secret`` and ``anon`` for ``s3://``. Without it, keys come from where that
        file system looks for them: its environment variables and files. Options in options, such
        as ``config_kwargs``, are added to those by which requests are bounded.
    columns
        Of one features array, those columns that are used, in this order: names, as its store
        has them, places from 0 in a flattened row, and ranges, such as ``["age", 3]``, or the
        text "age,3,10:20", where a name in double quotes is never a place. Chunks that hold none
        of them are not read.
    transform
        What is done to the features as they are read; a run keeps it, and does the same to the
        rows that it is evaluated on:

        - "log-normalise": counts in a sparse matrix are scaled to 10,000 a row ("log-normalise:N"
          to N), then log(1 + x) is taken;
        - "hash:B": the columns of a sparse matrix, or category codes in columns of whole numbers,
          are hashed to 2^B columns, by default 2^20;
        - "hash-pairs:B": so are the products of each two of a row, too;
        - "sequences:LENGTH:STRIDE": axis 0 is one of times, and row i is
          ``X[i * STRIDE : i * STRIDE + LENGTH]``, which is never copied: rows overlap on disk and
          in memory. Targets and all else have their value at a row's last time.

        Several of them, but the last, are divided by commas.

    Raises
    ------
    InputError
        If there is no Zarr group, a named array is missing, damaged or not numeric, lengths or
        dimension names of axis 0 differ, or there are no rows; a column is not there, or named
        twice; for a URL also if its scheme is unknown, its package is not installed, the server
        does not answer, or it gives no permission. If the object is none of these.

    Examples
    --------
    >>> dataset = open(example_dataset)
    >>> dataset.rows, dataset.arrays["X"].shape, dataset.target
    (1000, (1000, 3), 'y')
    >>> open(zarr.open_group(example_dataset)["X"]).features
    'X'
    >>> open(example_dataset, columns=[2, 0]).row_shape
    (2,)
    """
    roles = Opened(features, target, weight, missing, None, columns)
    return transformed(_open(source, roles, storage_options), transform)


def _open(source: Any, roles: Opened, storage_options: StorageOptions | None) -> Dataset:
    if are_paths(source):
        return open_path(source, *roles._replace(storage_options=storage_options))
    if storage_options is not None:
        raise InputError(f"storage_options are for URLs, and not for {described(source)}")
    if isinstance(source, Dataset):
        raise InputError(
            f"{source.path} is open already; use that dataset, or name its path to open it anew"
        )
    if type(source) is dict:  # SciPy has matrices that are dicts, too
        return open_mapping(source, roles)
    for kind in type(source).__mro__:
        if (opener := OPENERS.get(kind.__module__.partition(".")[0])) is not None:
            return opener(source, roles)
    raise InputError(
        f"{described(source)} cannot be opened; give the path of a Zarr group, or an object of "
        f"{', '.join(OPENERS)}. Arrays in memory are written by ooc.create, files of other formats "
        "by ooc.convert"
    )


def is_openable(source: Any) -> bool:
    """Tell whether something is what `open` takes, by its type alone.

    Examples
    --------
    >>> is_openable("a.zarr"), is_openable(3)
    (True, False)
    """
    if are_paths(source) or type(source) is dict:
        return True
    return any(kind.__module__.partition(".")[0] in OPENERS for kind in type(source).__mro__)


def are_paths(source: Any) -> bool:
    """Tell whether something is a path or a URL, or several of them.

    Examples
    --------
    >>> are_paths(["2023.zarr", "2024.zarr"]), are_paths([]), are_paths([[1.0, 2.0]])
    (True, False, False)
    """
    if isinstance(source, list | tuple):
        return bool(source) and all(isinstance(each, str | os.PathLike) for each in source)
    return isinstance(source, str | os.PathLike)


def described(source: Any) -> str:
    """Return what an object is, without what it holds.

    Examples
    --------
    >>> described([1, 2])
    'an object of list'
    """
    kind = type(source)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"an object of {module}{kind.__qualname__}"
