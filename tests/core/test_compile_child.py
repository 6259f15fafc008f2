"""Kernels that are missing are compiled aside, once each, and all are loaded."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooc.core import compile_child, kernel_cache
from ooc.core.compile_child import Compilation, load_kernels
from ooc.core.errors import InputError
from ooc.core.progress import Progress, silent


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for module in (compile_child, kernel_cache):
        monkeypatch.setattr(module, "FOLDER", tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(compile_child, "release_code", lambda library: 0)
    yield tmp_path


def noting(name: str, file: Path) -> Compilation:
    """Return a kernel that writes down the process in which it is compiled."""
    parent = os.getpid()

    def compile_() -> None:
        if name.startswith("a.one ") and os.getpid() != parent:
            time.sleep(0.1)  # the other child takes what is next meanwhile
        with file.open("a") as stream:
            stream.write(f"{name} {os.getpid()}\n")

    return Compilation(name, compile_)


def test_what_is_missing_is_compiled_in_children_and_all_is_loaded_here(cache: Path) -> None:
    """Kernels of one function are compiled by one child, for they share an index."""
    names = ["a.one int64(int64)", "a.one float64(int64)", "a.two ()", "a.three ()"]
    wanted = [noting(name, cache / "notes") for name in names]
    kernel_cache.mark_ready(names[3])
    heard: list[Progress] = []
    assert load_kernels([*wanted, wanted[0]], heard.append) == 3
    notes = [line.rsplit(" ", 1) for line in (cache / "notes").read_text().splitlines()]
    here = [name for name, process in notes if int(process) == os.getpid()]
    aside = {name: int(process) for name, process in notes if int(process) != os.getpid()}
    assert here == names
    assert sorted(aside) == sorted(names[:3])
    assert aside[names[0]] == aside[names[1]]
    assert len(notes) == 7
    told = [(each.rows, each.total_rows, each.text) for each in heard]
    compiling = "compiling 3 kernels, once on this machine"
    assert told == [*[(done, 3, compiling) for done in range(4)], (0, 1, "loading kernels")]
    assert load_kernels(wanted, heard.append) == 0
    assert len((cache / "notes").read_text().splitlines()) == 11
    assert [each.text for each in heard[5:]] == ["loading kernels"]


def test_one_kernel_is_told_as_one(cache: Path) -> None:
    heard: list[Progress] = []
    assert load_kernels([noting("a", cache / "notes")], heard.append) == 1
    assert heard[0].text == "compiling 1 kernel, once on this machine"


def test_what_a_child_cannot_compile_is_compiled_here(cache: Path) -> None:
    parent, done = os.getpid(), list[int]()

    def fail_aside() -> None:
        if os.getpid() != parent:
            os._exit(1)
        done.append(1)

    assert load_kernels([Compilation("a", fail_aside)], silent) == 1
    assert done == [1]
    assert kernel_cache.is_ready("a")


def test_without_a_cache_nothing_is_compiled_aside(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (compile_child, kernel_cache):
        monkeypatch.setattr(module, "FOLDER", None)
    assert load_kernels([noting("a", cache / "notes")], silent) == 1
    assert len((cache / "notes").read_text().splitlines()) == 1


def test_a_cache_that_is_full_is_told(cache: Path) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    kernel_cache.mark_ready("a")
    with pytest.raises(InputError) as refused:
        load_kernels([Compilation("a", fail)], silent)
    assert str(refused.value) == (
        f"kernels cannot be kept in {cache / 'cache'}: No space left on device; make room there, "
        "or set NUMBA_CACHE_DIR to another folder"
    )
