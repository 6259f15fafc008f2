"""Public files that installed packages ship for their own tests, read where they are installed.

Of the packages of the test extra, xarray and SciPy ship netCDF files with scales, marks and ranges;
zarr, numcodecs, dask, tensorstore, fsspec, s3fs and gcsfs ship no data at all.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import xarray

import ooc
from ooc.store.members import quiet

FOLDERS = {"xarray": "tests/data", "scipy": "io/tests/data"}


def files() -> list[Path]:
    found = []
    for package, folder in FOLDERS.items():
        spec = find_spec(package)
        assert spec is not None and spec.origin is not None
        found += sorted(Path(spec.origin).parent.joinpath(folder).glob("*.nc"))
    return found


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("file", files(), ids=lambda file: f"{file.parts[-4]}-{file.stem}")
def test_arrays_are_what_xarray_says(tmp_path: Path, file: Path, version: int) -> None:
    with xarray.open_dataset(file, engine="scipy", decode_cf=False) as stored, quiet():
        stored.to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=False)
    with xarray.open_dataset(file, engine="scipy", decode_times=False) as decoded:
        expected = {str(name): decoded[name].values for name in decoded.variables}
    count = 0
    for name, values in expected.items():
        if values.dtype.kind in "iuf" and values.ndim:
            dataset = ooc.open(tmp_path / "a.zarr", name, target=False, weight=False)
            options = {"memory": "512MiB", "shuffle": "none", "missing_values": "keep"}
            found = np.concatenate([batch[name] for batch in ooc.Loader(dataset, 1, **options)])
            np.testing.assert_allclose(found, values, rtol=1e-6, equal_nan=True)
            count += 1
    assert count
