"""How a command ends: its status, its one line, its notes, and the time that it counts."""

import json
import signal
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ooc.cli
from ooc.cli import main, run
from ooc.cli.show import NOTES
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.core.stopping import Interrupted


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ends_by(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> int:
    """Call a command whose work raises this, or comes to nothing."""

    def work(*given: object, **named: object) -> dict[str, Any]:
        if error is not None:
            raise error
        return {}

    monkeypatch.setattr("ooc.synthetic.make", work)
    return main(["make", "linear", "a.zarr", "--rows", "10", "--json"])


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("no  such\ncolumn"), 2, "ooc: no such column"),
        (DataError("row 3 of y"), 2, "ooc: row 3 of y"),
        (DivergedError("the loss is not finite"), 2, "ooc: the loss is not finite"),
        (BrokenPipeError(), 128 + 13, None),
        (
            MemoryError("7 bytes"),
            2,
            "ooc: the system gives no more memory (7 bytes); lower --memory, or free some",
        ),
        (OSError(28, "No space left", "b.zarr"), 2, "ooc: No space left b.zarr"),
        (OSError(5, "Input/output error"), 2, "ooc: Input/output error"),
        (OSError("the store is gone"), 2, "ooc: the store is gone"),
        (Interrupted(signal.SIGTERM), 128 + 15, "ooc: ended by SIGTERM"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, BaseException) else "",
)
def test_what_goes_wrong_is_one_line_and_a_status(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    line: str | None,
) -> None:
    assert ends_by(monkeypatch, error) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == ("" if line is None else f"{line}\n")


def test_notes_are_told_in_the_end_of_their_own_command(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    NOTES.append("of a command before")

    def work(*given: object, **named: object) -> dict[str, Any]:
        NOTES.append("what was chosen")
        return {}

    monkeypatch.setattr("ooc.synthetic.make", work)
    assert main(["make", "linear", "a.zarr", "--rows", "10", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "what was chosen\n"
    assert json.loads(printed.out)["path"] == "a.zarr"


def test_the_time_of_a_command_counts_what_passed_before(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A day of it, and none in the next."""
    monkeypatch.setattr("ooc.synthetic.make", lambda *given, **named: {})
    command = ["make", "linear", "a.zarr", "--rows", "10", "--json"]
    for before, least, most in ((86_400.0, 86_400, 90_000), (0.0, 0, 3_600)):
        assert main(command, before) == 0
        assert least <= json.loads(capsys.readouterr().out)["total_seconds"] < most


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    printed = capsys.readouterr()
    for command in ooc.cli.COMMANDS:
        assert f" {command} " in printed.out + printed.err
    assert "Missing command" not in printed.err


@pytest.mark.parametrize(
    ("status", "unwritten", "ended"),
    [(0, None, 0), (2, None, 2), (143, None, 143), (0, "Broken pipe", 2)],
)
def test_the_process_leaves_with_its_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    unwritten: str | None,
    ended: int,
) -> None:
    """With requests to servers ended, and 2 where its results could not be written out."""
    seen: list[Any] = []
    remote = SimpleNamespace(cancel_requests=lambda: seen.append("requests ended"))
    monkeypatch.setitem(sys.modules, "ooc.store.remote", remote)  # type: ignore[arg-type]
    monkeypatch.setattr(ooc.cli, "prepare_streams", lambda: seen.append("prepared"))
    monkeypatch.setattr(ooc.cli, "finish_streams", lambda: unwritten)
    monkeypatch.setattr(ooc.cli, "age_seconds", lambda: 7.5)

    def whole(*given: object) -> int:
        seen.append(given)
        warnings.warn("a remark\nof two lines", stacklevel=1)
        return status

    monkeypatch.setattr(ooc.cli, "main", whole)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as left:
            run(["info", "a.zarr"])
    assert left.value.code == ended
    assert seen == ["prepared", (["info", "a.zarr"], 7.5), "requests ended"]
    lines = ["ooc: a remark of two lines"]
    if unwritten:
        lines.append(f"ooc: standard output cannot be written to: {unwritten}")
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize(
    "remark",
    [
        "Numcodecs codecs are not in the Zarr version 3 specification and may not be supported",
        "The data type (FixedLengthUTF32(length=3)) does not have a Zarr V3 specification. That",
        "Found an empty list of filters in the array metadata document.",
        "Could not obtain multiprocessing lock due to OS level error: [Errno 38]",
        "coroutine 'S3FileSystem._connect' was never awaited",
    ],
)
def test_remarks_that_are_of_no_use_to_the_user_are_not_told(remark: str) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert main(["--version"]) == 0
        warnings.warn(remark, stacklevel=1)
        warnings.warn("another remark", stacklevel=1)
    assert [str(each.message) for each in told] == ["another remark"]
