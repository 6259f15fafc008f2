"""Convert data of other formats to a dataset, out of core: `ooc.convert(source, destination)`.

Parquet, CSV, NPY, NPZ, HDF5, NetCDF, svmlight, h5ad, images in one subfolder a class, and Zarr.
"""

import sys
from types import ModuleType
from typing import Any

# Where its function is, for what looks it up by its name, such as the documentation.
__module__, __qualname__ = "ooc.convert.job", "convert"


class _Package(ModuleType):
    """The package as a function: `ooc.convert` is the name of both."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Do as `ooc.convert.job.convert`."""
        from ooc.convert.job import convert

        return convert(*arguments, **options)


sys.modules[__name__].__class__ = _Package
