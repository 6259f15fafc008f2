"""A dataset grows behind a URL: whole files become objects, and the group's metadata come last.

Object stores rename nothing, so that the objects lie where they stay from the beginning. Until the
metadata of the group are there, no reader takes them for a dataset, and an object of its own says
whose they are. What may still change is on this machine's disk: shards that are not whole, notes.
"""

import asyncio
import hashlib
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from zarr.buffer import cpu
from zarr.core.sync import sync

from ooc.core.destination import claimed, clear_leftovers, hidden_beside, write_whole
from ooc.core.errors import InputError
from ooc.store.addresses import StorageOptions, explained
from ooc.store.destinations import UnfinishedError, make_folder
from ooc.store.place import Place
from ooc.store.remote import UNFINISHED, RemoteStore, store_at
from ooc.store.uploads import UPLOAD_BYTES, Known, Uploads
from ooc.version import VERSION

SCRATCH_VARIABLE = "OOC_SCRATCH"
ROOT = "zarr.json"


class GrowingStore(RemoteStore):
    """The store behind a URL, and over it the files of a folder that are not there yet."""

    folder: Path

    async def fetch(
        self, key: str, start: int | None = None, stop: int | None = None
    ) -> tuple[bytes | bytearray, int | None]:
        """Return bytes of a file of the folder, or else of an object, and its size."""
        file = self.folder / key
        if not file.is_file():
            return await super().fetch(key, start, stop)
        content = file.read_bytes() if start is None else b""
        with file.open("rb") as stream:
            size = file.stat().st_size
            if start is not None:
                first = max(0, size + start) if start < 0 else start
                stream.seek(first)
                content = stream.read(-1 if stop is None else stop - first)
        return content, size

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in a folder, here and there."""
        folder = self.folder / prefix
        names = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
        for name in names:
            yield name
        async for name in super().list_dir(prefix):
            if name not in names:
                yield name


class RemoteDestination:
    """A store behind a URL, and a folder of this machine for what is not there yet."""

    is_local = False
    buffer_bytes = UPLOAD_BYTES

    def __init__(self, url: str, storage_options: StorageOptions | None = None) -> None:
        self.shown, self._options = url, storage_options
        known = hashlib.blake2b(url.encode(), digest_size=6).hexdigest()
        self.beside = scratch_folder() / f"{url.rpartition('/')[2]}-{known}"
        self.partial = hidden_beside(self.beside, "partial")
        self._token_file = hidden_beside(self.beside, "token")
        with self._explained():
            self._store = store_at(url, storage_options, GrowingStore)
            self._store.folder = self.partial
            self._uploads = Uploads(self._store)
        # What was kept, or is about to be, by key.
        self._kept: dict[str, Known] = {}
        self._is_marked = False

    def _explained(self) -> Any:
        return explained(self.shown, self._options, "written to", UnfinishedError)

    def check_new(self) -> None:
        """Refuse what is there already, but for what this machine left half-written."""
        self._is_begun()

    def _is_begun(self) -> bool:
        """Refuse what is there; tell whether it is what this machine left half-written."""
        with self._explained():
            names = sync(self._uploads.names())
            mark = sync(self._mark()) if UNFINISHED in names else {}
        if not names:
            return False
        if ROOT not in names and mark:
            if mark.get("token") == self._token():
                return True
            raise InputError(
                f"{self.shown} is half-written: {mark.get('host')} began it, with its scratch in "
                f"{mark.get('scratch', 'an unknown folder')}; give the same command again there to "
                "go on, or remove what is there first"
            )
        if mark:  # killed when it was whole already
            with suppress(Exception):
                sync(self._uploads.remove([UNFINISHED]))
            clear_leftovers(self.beside)
        raise InputError(f"{self.shown} already exists; choose another path or remove it first")

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Lock it on this machine, and leave a mark there, which other machines see."""
        folder = self.beside.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot write to {folder}, for what is not at {self.shown} yet: {error.strerror}; "
                f"name another folder in {SCRATCH_VARIABLE}"
            ) from None
        with claimed(self.beside, self.shown):
            is_begun = self._is_begun()
            try:
                with self._explained():
                    self._begin(is_begun)
                yield
            finally:
                if self._is_marked and not self._kept:
                    with suppress(Exception):  # else the next one says whose it is
                        self._unmark()

    def _begin(self, is_begun: bool) -> None:
        """Leave the mark, or find what was written under the one that this machine left."""
        self._is_marked = True
        if is_begun:
            sync(self._uploads.abort_parts())
            found = sync(self._uploads.known())
            self._kept = {key: known for key, known in found.items() if key != UNFINISHED}
            return
        token = uuid4().hex
        mark = {
            "token": token,
            "host": socket.gethostname(),
            "scratch": str(self.beside.parent),
            "what": "a dataset that is not whole yet",
            "ooc": VERSION,
        }
        write_whole(self._token_file, token.encode())
        sync(self._uploads.put(UNFINISHED, json.dumps(mark).encode()))

    async def _mark(self) -> Mapping[str, Any]:
        found = await self._store.get(UNFINISHED, cpu.buffer_prototype)
        with suppress(ValueError):
            mark = json.loads(found.to_bytes()) if found is not None else {}
            return mark if isinstance(mark, dict) else {}
        return {"host": "another program"}

    def _is_changed(self, key: str, found: Known | None) -> bool:
        kept = self._kept.get(key)
        if kept is None or found is None or kept[0] != found[0]:
            return True
        return kept[1] != found[1] and bool(kept[1] and found[1])

    async def _seen(self) -> tuple[dict[str, Known], Mapping[str, Any]]:
        return await asyncio.gather(self._uploads.known(), self._mark())

    def _token(self) -> str:
        with suppress(OSError):
            return self._token_file.read_text()
        return ""

    def _unmark(self) -> None:
        sync(self._uploads.remove([UNFINISHED]))
        self._token_file.unlink(missing_ok=True)
        self._is_marked = False

    def begin(self, resume: bool) -> None:
        """Make the folder in which files grow."""
        if not resume:
            self.discard()
        make_folder(self.partial)

    def keep(self, files: Iterable[Path]) -> None:
        """Write objects of files, which then go."""
        named = {file.relative_to(self.partial).as_posix(): file for file in files}
        # Of several that fail, some may be there.
        self._kept.update({key: (file.stat().st_size, "") for key, file in named.items()})
        with self._explained():
            self._kept.update(sync(self._uploads.put_files(named)))
        for file in named.values():
            file.unlink()

    def holds(self, file: Path) -> bool:
        """Tell whether a file is whole, here or there."""
        return file.exists() or file.relative_to(self.partial).as_posix() in self._kept

    def place(self) -> Place:
        """Return what is there, and what is here, as one."""
        return Place(self.shown, self._options, self._store)

    def discard(self) -> None:
        """Remove the folder, and the objects."""
        shutil.rmtree(self.partial, ignore_errors=True)
        if self._kept:
            with self._explained():
                sync(self._uploads.abort_parts())
                sync(self._uploads.remove(list(self._kept)))
            self._kept.clear()

    def finish(self) -> None:
        """Write what is still here; the group's metadata come when all else is there."""
        root = self.partial / ROOT
        files = [Path(folder, name) for folder, _, names in os.walk(self.partial) for name in names]
        self.keep(file for file in sorted(files) if file != root)
        with self._explained():
            found, mark = sync(self._seen())
        found.pop(UNFINISHED, None)
        changed = [key for key in found | self._kept if self._is_changed(key, found.get(key))]
        is_ours = mark.get("token") == self._token()
        if not is_ours:  # nor are the objects any more
            self._kept.clear()
            self._is_marked = False
            self._token_file.unlink(missing_ok=True)
        if changed or not is_ours:
            what = f"{len(changed)} objects, such as {min(changed)}," if changed else "the mark"
            raise InputError(
                f"{self.shown} was changed while it was written: {what} there are not those that "
                "were written; see who else writes there, remove what is there and begin anew"
            )
        with self._explained():
            sync(self._uploads.put(ROOT, root.read_bytes()))
        with suppress(Exception):  # it is whole, and a mark is in nobody's way
            self._unmark()
        self._kept.clear()
        shutil.rmtree(self.partial, ignore_errors=True)


def scratch_folder() -> Path:
    """Return the folder for what of remote destinations is not written to them yet."""
    given, home = os.environ.get(SCRATCH_VARIABLE), os.environ.get("XDG_CACHE_HOME")
    folder = Path(given) if given else Path(home or "~/.cache", "ooc", "scratch")
    try:
        return folder.expanduser().absolute()
    except RuntimeError as error:  # of a user who has no home
        raise InputError(
            f"there is no place for what is written to a server: {error}; name a folder in "
            f"{SCRATCH_VARIABLE}"
        ) from None
