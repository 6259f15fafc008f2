"""Kerchunk's references: a JSON file that says where in other files the chunks of a group are.

They are data, and may be a stranger's: templates are replaced here and never rendered, references
that are to be generated are refused, and so are local files that do not lie beside them.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ooc.core.errors import InputError
from ooc.core.plain_files import ANY_SIZE, check_plain
from ooc.core.sizes import format_size
from ooc.store.addresses import REMOTE_SCHEMES
from ooc.store.file_systems import open_file_system
from ooc.store.local import MOST_METADATA_BYTES, is_metadata
from ooc.store.remote import RemoteStore

Reference = str | list[Any]


class ReferenceStore(RemoteStore):
    """Chunks where references say.

    Attributes
    ----------
    references
        By the names of objects: what they hold, or a file with first byte and size, or it alone.
    """

    references: Mapping[str, Reference]

    async def fetch(
        self, key: str, start: int | None = None, stop: int | None = None
    ) -> tuple[bytes | bytearray, int | None]:
        """Do as `RemoteStore.fetch`; an OSError refuses what is larger than it may be."""
        where = self.references.get(key)
        most = MOST_METADATA_BYTES if is_metadata(key) else self.most_bytes
        if isinstance(where, list):
            url, *span = where
            if "://" not in url:
                check_plain(url, ANY_SIZE if span else most)
            if start is None and span and span[1] > most:
                raise OSError(f"it has {span[1]:,} bytes, above the {most:,} that it may hold")
        return await super().fetch(key, start, stop)


def is_references(path: str) -> bool:
    """Tell whether a local file begins as JSON does, and no archive."""
    with suppress(OSError), Path(path).open("rb") as file:
        return file.read(64).lstrip()[:1] == b"{"
    return False


def open_references(path: str) -> RemoteStore:
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
        named, templates = dict(told.get("refs", told)), dict(told.get("templates", {}))
        if not any(key.rpartition("/")[2] in (".zgroup", "zarr.json") for key in named):
            raise ValueError("no group")
        found = {key: _as_stored(where, templates) for key, where in named.items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise InputError(
            f"{path} is a file, and neither a zip archive of a Zarr group nor Kerchunk's "
            "references to one; name the folder of the group"
        ) from None
    if told.get("gen"):
        raise InputError(
            f"{path} holds rules by which references are generated, which is not supported; write "
            "each of them"
        )
    found = _in_place(path, found)
    how = {"fo": found, "fs": _file_systems(path, found)}
    store = ReferenceStore.from_url("reference://", how, read_only=True)
    assert isinstance(store, ReferenceStore)
    store.references = found
    return store


def _file_systems(path: str, references: Mapping[str, Reference]) -> dict[str | None, Any]:
    """Return what reads the files that references name, by their schemes; None is local."""
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    from fsspec.implementations.local import LocalFileSystem

    urls = {where[0] for where in references.values() if isinstance(where, list)}
    schemes = {url.partition("://")[0] for url in urls if "://" in url}
    found: dict[str | None, Any] = {
        None: AsyncFileSystemWrapper(LocalFileSystem(), asynchronous=True)
    }
    for scheme in sorted(schemes):
        try:
            found[scheme] = open_file_system(scheme)
        except ImportError as error:
            raise InputError(
                f"{path} leads to {scheme}://, which needs a package that is not installed "
                f"({error}); run: pip install 'ooc[remote]'"
            ) from None
    return found


def _as_stored(where: Any, templates: Mapping[str, Any]) -> Reference:
    """Return a reference with its templates replaced; a ValueError says that it is none."""
    if isinstance(where, str):
        return where
    if isinstance(where, dict):
        return json.dumps(where)
    url, *span = where
    if not isinstance(url, str):
        raise ValueError(f"{where}")
    for name, value in templates.items():
        url = url.replace("{{" + name + "}}", str(value))
    if not all(type(each) is int and each >= 0 for each in span) or len(span) not in (0, 2):
        raise ValueError(f"{where}")
    return [url, *span]


def _in_place(path: str, references: Mapping[str, Reference]) -> dict[str, Reference]:
    """Return references of which local files are named in full; refuse others than beside them."""
    folder, known, found = Path(path).parent.resolve(), dict[str, str](), dict[str, Reference]()
    for key, where in references.items():
        if isinstance(where, str):
            found[key] = where
            continue
        url, *span = where
        if url not in known:
            known[url] = _address(path, key, url, folder)
        found[key] = [known[url], *span]
    return found


def _address(path: str, key: str, url: str, folder: Path) -> str:
    scheme, separator, rest = url.partition("://")
    if separator and scheme in REMOTE_SCHEMES:
        return url
    if separator and scheme not in ("file", "local"):
        raise InputError(
            f"chunk {key} of {path} is in {url}, whose scheme is none of "
            f"{', '.join(REMOTE_SCHEMES)}; copy it, and name the copy"
        )
    file = (folder / (rest if separator else url)).resolve()
    if not file.is_relative_to(folder):
        raise InputError(
            f"chunk {key} of {path} is in {url}, outside the folder of the references; put "
            "their file beside those that it names, or above"
        )
    return str(file)
