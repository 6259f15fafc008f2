"""The table of formats: a new one is a function and an entry, and its suffix chooses it."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from ooc.core.destination import claimed, local_path, write_whole
from ooc.core.errors import InputError
from ooc.export.coefficients import as_csv, as_json
from ooc.export.onnx_file import as_onnx
from ooc.export.tensors import as_safetensors
from ooc.export.trained import Trained

ONNX = ".onnx"
# Each returns what the file will hold.
FORMATS: dict[str, Callable[[Trained], bytes]] = {
    ONNX: as_onnx,
    ".json": as_json,
    ".csv": as_csv,
    ".safetensors": as_safetensors,
}


def export_model(trained: Trained, path: str | PathLike[str]) -> Path:
    """Write a trained model in the format of the path's suffix; the file is whole or not there.

    Raises
    ------
    InputError
        If the suffix is none of `FORMATS`, the path is taken or cannot be written to, the model
        has no such form, or a package is missing.
    """
    out = local_path(Path(path), "exports")
    write = FORMATS.get(out.suffix.lower())
    if write is None:
        raise InputError(
            f"no export is written as {out.name}; name it by one of: {', '.join(FORMATS)}"
        )
    if trained.input_dtype is not None and write is not FORMATS[ONNX]:
        raise InputError(
            f"{out.suffix} says nothing of rows' dtype; leave it out, or choose {ONNX}"
        )
    if not out.absolute().parent.is_dir():
        raise InputError(f"the folder {out.parent} of {out.name} does not exist; make it first")
    with claimed(out):
        if out.exists():
            raise InputError(f"{out} already exists; choose another path or remove it first")
        write_whole(out, write(trained))
    return out
