"""A fault that falls through may take all memory: it ends in an error here, and not the machine."""

import resource
from collections.abc import Iterator

import pytest

MOST_BYTES = 4 * 2**30


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)
