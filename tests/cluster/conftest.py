"""One Dask cluster of real processes for all tests that need one."""

import os
from collections.abc import Iterator

import dask
import pytest

from ooc.cluster.connection import STARTS_ANEW

distributed = pytest.importorskip("distributed")


@pytest.fixture(autouse=True)
def workers_start_anew() -> Iterator[None]:
    with dask.config.set(STARTS_ANEW):
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator["distributed.LocalCluster"]:
    # Workers are no tests: what they compile goes to the same cache.
    assert "NUMBA_CACHE_DIR" in os.environ
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
    ) as found:
        yield found


@pytest.fixture
def client(cluster: "distributed.LocalCluster") -> Iterator["distributed.Client"]:
    with distributed.Client(cluster) as found:
        yield found
