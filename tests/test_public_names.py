"""What a prompt shows of the package: its public names, each with its first line."""

import inspect
import pydoc

import ooc


def test_dir_has_the_public_names_alone() -> None:
    assert [name for name in dir(ooc) if not name.startswith("_")] == sorted(ooc.__all__)


def test_help_shows_each_name_with_its_first_line() -> None:
    lines = [line.strip() for line in pydoc.render_doc(ooc, renderer=pydoc.plaintext).splitlines()]
    for name in ooc.__all__:
        first = (inspect.getdoc(getattr(ooc, name)) or "").splitlines()[0]
        assert lines[lines.index(name) + 1] == first


def test_the_public_names_are_those_that_the_package_tells_of() -> None:
    told = [line for line in (ooc.__doc__ or "").splitlines() if line.isidentifier()]
    assert told == sorted(ooc.__all__)
    for name in told:
        assert getattr(ooc, name) is not None
