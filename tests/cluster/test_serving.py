"""The door that workers are given, and what else changes in them."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from ooc.cluster import serving
from ooc.cluster.serving import OPERATION, LanesPlugin


class Sampler:
    """A periodic callback, as far as a worker's is stopped."""

    is_running = True

    def stop(self) -> None:
        self.is_running = False


@pytest.mark.parametrize("hangs", [True, False])
def test_the_profiler_ends_where_it_may_hang_a_worker(
    monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr(serving, "SAMPLING_HANGS", hangs)
    sampler = Sampler()
    worker: Any = SimpleNamespace(handlers={}, periodic_callbacks={"profile": sampler, "tick": 1})
    for _ in range(2):  # each run gives every worker the door
        LanesPlugin().setup(worker)
    assert sampler.is_running is not hangs
    assert ("profile" in worker.periodic_callbacks) is not hangs
    assert set(worker.handlers) == {OPERATION} and worker.periodic_callbacks["tick"] == 1


@pytest.mark.slow
def test_workers_of_a_cluster_are_sampled_where_that_is_safe(client: Any) -> None:
    client.register_plugin(LanesPlugin())
    found = client.run(lambda dask_worker: "profile" in dask_worker.periodic_callbacks)
    assert list(found.values()) == [sys.version_info >= (3, 11, 9)] * len(found)
