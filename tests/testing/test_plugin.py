"""The pytest plugin, in projects of its own: a test that fits passes, one that does not fails."""

import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).resolve().parent.parent.parent

BOTH = """
import numpy as np
import pytest

KEPT = []

def test_hoards():
    KEPT.append(np.ones(400 * 2**20, np.uint8))

@pytest.mark.ooc_memory("320MiB")
def test_fits():
    assert not KEPT and np.ones(2**20).sum() == 2**20

@pytest.mark.ooc_memory("320MiB")
def test_exceeds():
    hoard = np.ones(400 * 2**20, np.uint8)  # this line
"""
OTHERS = """
import mmap, os, sys
import pytest

@pytest.fixture
def number():
    yield 7

@pytest.mark.slow
@pytest.mark.ooc_memory("320MiB")
@pytest.mark.parametrize("wanted", [7, 8])
def test_is_what_it_is(number, wanted, tmp_path):
    assert number == wanted

@pytest.mark.ooc_memory("320MiB")
def test_maps():
    memory = mmap.mmap(-1, 300 * 2**20)
    for place in range(0, len(memory), 4096):
        memory[place] = 1

@pytest.mark.ooc_memory("320MiB")
def test_dies():
    os._exit(3)

@pytest.mark.ooc_memory("much")
def test_of_no_size():
    pass

@pytest.mark.ooc_memory("320MiB")
@pytest.mark.xfail(strict=True)
def test_expected():
    assert False

def test_unmarked(request):
    assert "ooc.testing.plugin" in sys.modules
"""


def run(pytester: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    """Run tests in a project that, by its settings, leaves some out and takes no unknown mark."""
    ini = "[pytest]\naddopts = -m 'not slow' --strict-markers\nmarkers = slow: left out"
    pytester.makeini(ini)
    pytester.makepyfile(test_it=code)
    return pytester.runpytest_subprocess("-p", "ooc.testing.plugin", *options)


@pytest.mark.slow
def test_one_that_fits_passes_and_one_that_exceeds_fails(pytester: pytest.Pytester) -> None:
    result = run(pytester, BOTH)
    result.assert_outcomes(passed=2, failed=1)
    (line,) = {each for each in result.outlines if each.startswith("test_exceeds held")}
    found = re.match(
        r"test_exceeds held (\d+) MiB at its peak, and ooc_memory allows 320 MiB; "
        r"largest holder: (.*):(\d+), (\d+) MiB; hold less at once, or raise the bound",
        line,
    )
    assert found is not None, line
    assert int(found[1]) >= 320
    assert Path(found[2]).read_text().splitlines()[int(found[3]) - 1].endswith("# this line")
    assert int(found[4]) == 400


@pytest.mark.slow
def test_outcomes_are_those_of_the_test_itself(pytester: pytest.Pytester) -> None:
    result = run(pytester, OTHERS, "-m", "slow or not slow")
    result.assert_outcomes(passed=2, failed=4, xfailed=1)
    said = result.stdout.str()
    assert "assert 7 == 8" in said
    assert re.search(r"test_maps held .*: memory that is mapped without a file, \d\d\d MiB", said)
    assert "the process of test_dies ended without a result" in said
    assert "ooc_memory takes one size" in said and "'much' is not a size" in said


def test_the_plugin_is_an_entry_point_of_its_modules_name() -> None:
    """Under another name, `-p` would make a second plugin of it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"]["pytest11"].items()
    assert name == value
    assert EntryPoint(name, value, "pytest11").load().__name__ == name
