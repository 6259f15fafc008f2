"""Kerchunk's references: a JSON file that says where in other files the chunks of a group are."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from zarr.storage import FsspecStore

from ooc.core.errors import InputError
from ooc.core.sizes import format_size
from ooc.store.local import MOST_METADATA_BYTES
from ooc.store.remote import RemoteStore

SCHEME = "reference"


def is_references(path: str) -> bool:
    """Tell whether a local file begins as JSON does, and no archive."""
    with suppress(OSError), Path(path).open("rb") as file:
        return file.read(64).lstrip()[:1] == b"{"
    return False


def open_references(path: str) -> FsspecStore:
    """Open a file of references as a store; local files that it names lie beside it, or below.

    Raises
    ------
    InputError
        If it is no such file, or names a local file elsewhere: who wrote it is not to choose which
        of this machine's files are read.
    """
    size = Path(path).stat().st_size
    if size > MOST_METADATA_BYTES:
        raise InputError(
            f"the references in {path} have {format_size(size)}, above the "
            f"{format_size(MOST_METADATA_BYTES)} that are read; write the group anew, in Zarr"
        )
    try:
        told = json.loads(Path(path).read_bytes())
        references, templates = dict(told.get("refs", told)), dict(told.get("templates", {}))
        if not any(key.rpartition("/")[2] in (".zgroup", "zarr.json") for key in references):
            raise ValueError("no group")
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise InputError(
            f"{path} is a file, and neither a zip archive of a Zarr group nor Kerchunk's "
            "references to one; name the folder of the group"
        ) from None
    _check_places(path, references, templates)
    options = {"fo": told, "remote_protocol": None, "target_protocol": "file"}
    return RemoteStore.from_url(f"{SCHEME}://", options, read_only=True)


def _check_places(path: str, references: dict[str, Any], templates: dict[str, Any]) -> None:
    folder, known = Path(path).parent.resolve(), set[str]()
    for key, where in references.items():
        if not isinstance(where, list) or not where or where[0] in known:
            continue
        named = str(where[0])
        for name, value in templates.items():
            named = named.replace("{{" + name + "}}", str(value))
        local = "://" not in named or named.startswith(("file:", "local:"))
        if local and not Path(named.partition("://")[2] or named).resolve().is_relative_to(folder):
            raise InputError(
                f"chunk {key} of {path} is in {named}, outside the folder of the references; put "
                "their file beside those that it names, or above"
            )
        known.add(str(where[0]))
