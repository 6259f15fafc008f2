"""Fixtures that several tests share, and a compile cache that never goes stale."""

import gc
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Numba looks at the file of a kernel, not at those of the kernels that it calls. Naming the cache
# by the sources' hash keeps an edited callee from being served from an old cache.
_files = sorted(path for name in ("ooc", "pipelines") for path in (ROOT / name).rglob("*.py"))
_sources = b"".join(path.read_bytes() for path in _files)
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(ROOT / ".cache" / f"numba-{hashlib.sha256(_sources).hexdigest()[:12]}")
)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from datasets import write_dataset  # noqa: E402
from hypothesis import settings  # noqa: E402

from ooc.core.compile_child import load_kernels  # noqa: E402
from ooc.core.progress import silent  # noqa: E402
from ooc.store.chunks.at_once import compilation  # noqa: E402
from ooc.store.dataset import Dataset  # noqa: E402

# The first example of a test may compile a kernel.
settings.register_profile("any-time", deadline=None)
settings.load_profile("any-time")


@pytest.fixture(autouse=True, scope="session")
def _held_by_nobody() -> Iterator[None]:
    """Let the process that runs tests, with all that it imports, count as an ordinary one."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("ooc.stream.plan.resident_bytes", lambda: 0)
        yield


@pytest.fixture(autouse=True)
def _nothing_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync nothing in this process: that files are synced shows in what is called, see tests."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture(autouse=True, scope="session")
def _whole_chunks_are_read_at_once() -> None:
    """Read in this process as runs on large data do; `either_way` is for the other way, too."""
    load_kernels([compilation()], silent)


@pytest.fixture(params=["at once", "one by one"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read whole chunks at once, by a compiled call, and each by itself."""
    if request.param == "one by one":
        monkeypatch.setattr("ooc.store.chunks.at_once.loaded_kernel", lambda: None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make all cases of a test slow but the first ones, so many as `slow_after` says."""
    seen = Counter[str]()
    for item in items:
        marker = item.get_closest_marker("slow_after")
        if marker is not None and item.get_closest_marker("slow") is None:
            name = item.nodeid.partition("[")[0]
            seen[name] += 1
            if seen[name] > marker.args[0]:
                item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what imports have made."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def dataset(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    """1003 rows of 3 features in blocks of 10; feature 0 is the row's number."""
    features = rng.standard_normal((1003, 3)).astype(np.float32)
    features[:, 0] = np.arange(1003)
    return write_dataset(tmp_path / "small.zarr", X=features, y=np.arange(1003, dtype=np.int64) % 2)
