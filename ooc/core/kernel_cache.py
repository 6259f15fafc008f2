"""Where compiled kernels are kept: a folder named by all sources, Numba and the processor.

Numba alone would serve a kernel stale whose callees changed: it looks at the kernel's own file.
"""

import atexit
import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.runtime import rtsys

from ooc.core.terminal import say
from ooc.version import VERSION

PACKAGE = Path(__file__).resolve().parent.parent
# Folders of other versions that are kept: two environments in turn do not compile each time.
KEPT = 4
_PREFIX = f"ooc-{VERSION}-"
# As the files of its functions are named, which may be by way of a link.
_SOURCES = str(Path(__file__).parent.parent) + os.sep


def cache_name(package: Path = PACKAGE) -> str:
    """Return the folder's name: of the sources of a package, of Numba and of the processor."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes())
    features = llvm.get_host_cpu_features().flatten()
    for text in (numba.__version__, platform.python_version(), llvm.get_host_cpu_name(), features):
        digest.update(text.encode() + b"\0")
    return f"{_PREFIX}{digest.hexdigest()[:16]}"


def cache_folder() -> Path | None:
    """Return the folder for this machine's kernels, made if it is not there yet.

    It lies in ``NUMBA_CACHE_DIR``, or the user's cache. Where neither can be written, it is one of
    this process alone, or none, and a line on standard error says so.
    """
    given, home = os.environ.get("NUMBA_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    base = Path(given) if given else Path(home or "~/.cache", "ooc")
    try:
        base = base.expanduser()
        folder = base / cache_name()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        os.utime(folder)
        _remove_old(base, folder)
    except (OSError, RuntimeError) as error:  # the latter of a user who has no home
        reason = error.strerror if isinstance(error, OSError) else error
        say(
            f"ooc: kernels cannot be kept in {base} ({reason}), so that each process "
            "compiles its own; set NUMBA_CACHE_DIR to a folder that can be written"
        )
        return _private_folder()
    return folder


def _private_folder() -> Path | None:
    """Return a folder that goes with this process; None where there is no place for one."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="ooc-kernels-"))
    except OSError:
        return None
    owner = os.getpid()

    def remove() -> None:
        # A child that was forked from the owner may end in the usual way, too.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _remove_old(base: Path, current: Path) -> None:
    """Remove all but the folders that were used last; one that vanishes meanwhile is no matter."""
    others = []
    for path in base.glob("ooc-*-????????????????"):
        with contextlib.suppress(OSError):
            if path != current:
                others.append((path.stat().st_mtime, path))
    for _, path in sorted(others, reverse=True)[KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


FOLDER = cache_folder()
if FOLDER is not None:
    # Numba declares none of its settings.
    setattr(numba.config, "CACHE_DIR", str(FOLDER))  # noqa: B010


class CompiledBefore(FunctionCache):
    """Where Numba finds what it compiled before: what it can compile is not looked up for that.

    Numba's own lists all that it knows of the language, of NumPy and of SciPy's BLAS before it
    loads: as long as the rest of a warm start takes. A kernel that is not there is compiled as
    ever, for the compiler makes that list itself. Kernels of this package are found from wherever
    it lies, where Numba asks for the same path: the folder is of all sources.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        if FOLDER is None or not _is_own(file := function.__code__.co_filename):
            return
        path = FOLDER / Path(file.removeprefix(_SOURCES)).parent
        with contextlib.suppress(OSError):
            path.mkdir(parents=True, exist_ok=True)
            self._cache_path = str(path)
            self._cache_file = IndexDataCacheFile(
                self._cache_path, self._impl.filename_base, FOLDER.name
            )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return a kernel for some types, None where it was not compiled before."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)
        return None


def source_of(function: Callable[..., Any]) -> str:
    """Return what tells a function's source from another one; nothing for those of this package.

    Their folder is another one where any of them changes, and others' is not.
    """
    file = function.__code__.co_filename
    with contextlib.suppress(OSError):
        if not _is_own(file):
            known = Path(file).stat()
            return f" {file} {known.st_mtime_ns} {known.st_size}"
    return ""


def _is_own(file: str) -> bool:
    return file.startswith(_SOURCES)


def is_ready(name: str) -> bool:
    """Tell whether a kernel of this name was compiled to the end before."""
    return FOLDER is not None and _mark(FOLDER, name).exists()


def mark_ready(name: str) -> None:
    """Note that a kernel of this name lies in the cache."""
    if FOLDER is not None:
        with contextlib.suppress(OSError):
            _mark(FOLDER, name).touch()


def _mark(folder: Path, name: str) -> Path:
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.ready"
