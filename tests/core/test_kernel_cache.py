"""The folder of kernels is named by all that they are made of: nothing stale is ever served."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ooc
from ooc.core import kernel_cache
from ooc.core.kernel_cache import cache_name


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "inner" / "b.py").write_text("y = 1\n")
    return tmp_path


def test_any_source_that_changes_is_another_folder(package: Path) -> None:
    """By its content, of the same length, too; by its name; or as it comes or goes."""
    names = [cache_name(package)]
    (package / "inner" / "b.py").write_text("y = 2\n")
    names.append(cache_name(package))
    (package / "inner" / "b.py").rename(package / "inner" / "c.py")
    names.append(cache_name(package))
    (package / "d.py").write_text("")
    names.append(cache_name(package))
    assert len(set(names)) == 4
    (package / "d.py").unlink()
    assert cache_name(package) == names[2]
    (package / "notes.txt").write_text("no source")
    assert cache_name(package) == names[2]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("numba.__version__", "0.1"),
        ("platform.python_version", lambda: "3.0"),
        ("llvm.get_host_cpu_name", lambda: "another"),
        ("llvm.get_host_cpu_features", lambda: type("F", (), {"flatten": lambda self: "+x"})()),
    ],
)
def test_another_compiler_or_processor_is_another_folder(
    package: Path, monkeypatch: pytest.MonkeyPatch, where: str, value: object
) -> None:
    before = cache_name(package)
    monkeypatch.setattr(f"{kernel_cache.__name__}.{where}", value)
    assert cache_name(package) != before


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "given"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(kernel_cache, "cache_name", lambda: "ooc-1-0123456789abcdef")
    return tmp_path


def test_kernels_lie_where_the_user_says_or_in_the_users_cache(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "ooc-1-0123456789abcdef"
    assert kernel_cache.cache_folder() == home / "given" / name
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert kernel_cache.cache_folder() == home / "cache" / "ooc" / name
    monkeypatch.delenv("XDG_CACHE_HOME")
    found = kernel_cache.cache_folder()
    assert found == home / "home" / ".cache" / "ooc" / name
    assert found.is_dir()
    assert list(found.iterdir()) == []


def test_folders_of_other_versions_go_but_for_the_three_used_last(home: Path) -> None:
    base = home / "given"
    for age in range(6):
        folder = base / f"ooc-0-{age:016d}"
        folder.mkdir(parents=True)
        (folder / "kernel").touch()
        os.utime(folder, (1000 - age, 1000 - age))
    (base / "ooc-mine").mkdir()
    kernel_cache.cache_folder()
    left = sorted(each.name for each in base.iterdir())
    kept = [f"ooc-0-{age:016d}" for age in range(3)]
    assert left == [*kept, "ooc-1-0123456789abcdef", "ooc-mine"]


def test_a_folder_that_is_used_counts_as_used_now(home: Path) -> None:
    folder = home / "given" / "ooc-1-0123456789abcdef"
    folder.mkdir(parents=True)
    mark = folder / "mark"
    mark.touch()
    os.utime(folder, (5, 5))
    kernel_cache.cache_folder()
    assert folder.stat().st_mtime > 1e9
    assert mark.exists()


def test_a_cache_that_cannot_be_written_is_told_and_done_without(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "given").touch()
    ended: list[Callable[[], None]] = []
    monkeypatch.setattr(kernel_cache.atexit, "register", ended.append)
    folder = kernel_cache.cache_folder()
    assert folder is not None
    assert folder.name.startswith("ooc-kernels-")
    assert capsys.readouterr().err == (
        f"ooc: kernels cannot be kept in {home / 'given'} (Not a directory), so that each process "
        "compiles its own; set NUMBA_CACHE_DIR to a folder that can be written\n"
    )
    owner = os.getpid()
    monkeypatch.setattr(kernel_cache.os, "getpid", lambda: owner + 1)
    ended[0]()
    assert folder.exists()
    monkeypatch.setattr(kernel_cache.os, "getpid", lambda: owner)
    ended[0]()
    assert not folder.exists()

    def refuse(**options: str) -> str:
        raise OSError("full")

    monkeypatch.setattr(kernel_cache.tempfile, "mkdtemp", refuse)
    assert kernel_cache.cache_folder() is None


def test_a_kernel_is_ready_once_it_was_compiled_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_cache, "FOLDER", tmp_path)
    assert not kernel_cache.is_ready("a")
    kernel_cache.mark_ready("a")
    assert kernel_cache.is_ready("a")
    assert not kernel_cache.is_ready("b")
    (mark,) = tmp_path.iterdir()
    assert mark.suffix == ".ready"
    monkeypatch.setattr(kernel_cache, "FOLDER", tmp_path / "gone")
    kernel_cache.mark_ready("a")
    monkeypatch.setattr(kernel_cache, "FOLDER", None)
    kernel_cache.mark_ready("a")
    assert not kernel_cache.is_ready("a")


@pytest.mark.slow
def test_a_warm_start_lists_nothing_that_a_compiler_knows(tmp_path: Path) -> None:
    """Numba's lists of NumPy and SciPy are as large as all else; what is lost is compiled again."""
    with ooc.create(tmp_path / "a.zarr", {"X": ("float32", (3,)), "y": ("int8", ())}) as writer:
        rng = np.random.default_rng(0)
        writer.append({"X": rng.normal(size=(500, 3)), "y": rng.integers(0, 2, 500)})
    code = (
        "import sys, ooc\n"
        "trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), batch_size=50)\n"
        "run = trainer.fit(ooc.open(sys.argv[1]))\n"
        "print(run.parameters.tobytes().hex(), 'numba.np.arraymath' in sys.modules,\n"
        "      'scipy.linalg' in sys.modules)"
    )

    def trained() -> tuple[str, ...]:
        command = [sys.executable, "-c", code, str(tmp_path / "a.zarr")]
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
        return tuple(done.stdout.decode().split())

    parameters, *listed = trained()
    assert listed[0] == "True"
    assert trained() == (parameters, "False", "False")
    lost = list((tmp_path / "cache").rglob("*.nbc"))
    assert lost
    for file in lost:
        file.unlink()
    assert trained() == (parameters, "True", "True")
    assert trained() == (parameters, "False", "False")


@pytest.mark.slow
def test_kernels_are_found_from_another_place_with_the_same_sources(tmp_path: Path) -> None:
    """Two environments of one version share what either compiled, and what is noted of it."""
    with ooc.create(tmp_path / "a.zarr", {"X": ("float32", (3,)), "y": ("int8", ())}) as writer:
        rng = np.random.default_rng(0)
        writer.append({"X": rng.normal(size=(500, 3)), "y": rng.integers(0, 2, 500)})
    code = (
        "import sys, ooc\n"
        "trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), batch_size=50)\n"
        "trainer.fit(ooc.open(sys.argv[1]))\n"
        "print(ooc.__file__, 'numba.np.arraymath' in sys.modules)"
    )

    def trained(place: str) -> list[str]:
        if not (tmp_path / place).exists():
            shutil.copytree(
                kernel_cache.PACKAGE, tmp_path / place / "ooc",
                ignore=shutil.ignore_patterns("__pycache__"),
            )  # fmt: skip
        environment = {
            **os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": str(tmp_path / place),
        }  # fmt: skip
        command = [sys.executable, "-c", code, str(tmp_path / "a.zarr")]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, env=environment, cwd=tmp_path
        )
        return done.stdout.decode().split()

    here, there = (str(tmp_path / place / "ooc" / "__init__.py") for place in ("here", "there"))
    assert trained("here") == [here, "True"]
    compiled = sorted(each.name for each in (tmp_path / "cache").rglob("*.nb?"))
    assert trained("there") == [there, "False"]
    assert sorted(each.name for each in (tmp_path / "cache").rglob("*.nb?")) == compiled


def test_a_function_of_another_s_is_known_by_its_file(tmp_path: Path) -> None:
    """Else it would be taken for compiled when its file has changed, and be compiled in the run."""
    file = tmp_path / "own.py"

    def loaded(text: str) -> str:
        file.write_text(text)
        space: dict[str, Callable[..., object]] = {}
        exec(compile(text, str(file), "exec"), space)
        return kernel_cache.source_of(space["loss"])

    first = loaded("def loss(x):\n    return x\n")
    assert str(file) in first
    assert loaded("def loss(x):\n    return 2 * x\n") != first
    assert kernel_cache.source_of(cache_name) == ""
