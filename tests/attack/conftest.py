"""What all attacks share: a bound on memory, and a process from which others are forked."""

import resource
from collections.abc import Iterator
from functools import cache

import pytest
import typer.main

from attack.processes import Forks

MOST_BYTES = 4 * 2**30
# The commands as they are built of their functions, which takes as long as most of them do.
get_command = cache(typer.main.get_command)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


@pytest.fixture(autouse=True)
def commands_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.main.get_command", get_command)


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """A fault that falls through may take all memory: it ends in an error, and not the machine."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)
