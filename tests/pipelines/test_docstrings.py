"""Every example in a docstring of the pipelines is run."""

import doctest
import importlib
import pkgutil

import pytest

import pipelines

MODULES = sorted(module.name for module in pkgutil.walk_packages(pipelines.__path__, "pipelines."))


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
