"""The folder of kernels is named by all that they are made of: nothing stale is ever served."""

from pathlib import Path

import pytest

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
