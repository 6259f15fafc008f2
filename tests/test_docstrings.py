"""Every example in a docstring is run."""

import doctest
import importlib.util
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import zarr

import ooc

# PyTorch is large, and need not be there.
WITHOUT = () if importlib.util.find_spec("torch") else ("ooc.torch",)
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(ooc.__path__, "ooc.", onerror=lambda name: None)
    if not module.name.endswith("__main__") and not module.name.startswith(WITHOUT)
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_are_true(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(name)
    if not any(test.examples for test in doctest.DocTestFinder().find(module)):
        return
    x = np.random.default_rng(0).standard_normal((1000, 3), dtype=np.float32)
    with ooc.create(tmp_path / "example.zarr", {"X": ("float32", (3,)), "y": ("float32", ())}) as w:
        w.append({"X": x, "y": x @ np.float32([1, 2, 3])})
    names = {
        "np": np,
        "zarr": zarr,
        "folder": tmp_path,
        "example_dataset": tmp_path / "example.zarr",
    }
    failures, _ = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert failures == 0


def test_examples_are_found_in_compiled_functions() -> None:
    found = doctest.DocTestFinder().find(importlib.import_module("ooc.kernels.losses"))
    assert sum(len(test.examples) for test in found) >= 3


def test_every_public_function_and_class_says_what_it_is_for() -> None:
    missing = []
    for name in MODULES:
        module = importlib.import_module(name)
        for attribute, value in vars(module).items():
            public = not attribute.startswith("_") and callable(value)
            if public and getattr(value, "__module__", "") == name and not value.__doc__:
                missing.append(f"{name}.{attribute}")
    assert not missing
