"""What is wrong with a run's folder, and what to do, told whole."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from random_runs import trained

import ooc
from ooc.core.errors import InputError
from ooc.models import Linear, Logistic
from ooc.runs import checkpoint, run_directory
from ooc.runs.scoring import check_scorable, check_targets
from ooc.version import VERSION

ARRAYS = {"parameters": np.zeros(3, np.float32)}


def told(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def save(folder: Path, step: int, **description: Any) -> None:
    checkpoint.save(folder, step, ARRAYS, {"versions": {"ooc": "0.2"}, **description})


def test_a_place_that_is_taken(tmp_path: Path) -> None:
    run = tmp_path / "run"
    save(run, 1)
    assert told(lambda: checkpoint.check_run_dir(run)) == (
        f"{run} already holds a run; go on with `ooc resume {run}`, choose another directory or "
        "remove it"
    )
    checkpoint._file(run, 1).unlink()
    assert told(lambda: checkpoint.check_run_dir(run)) == (
        f"{run} holds the run.json of a run whose checkpoints are gone; choose another directory "
        "or remove it"
    )
    for mark in ("zarr.json", ".zgroup", ".zarray"):
        folder = tmp_path / mark.strip(".")
        folder.mkdir()
        (folder / mark).touch()
        assert told(lambda folder=folder: checkpoint.check_run_dir(folder)) == (  # type: ignore[misc]
            f"{folder} holds data, a Zarr group; choose another directory"
        )
    file = tmp_path / "file"
    file.touch()
    assert told(lambda: checkpoint.check_run_dir(file / "a" / "b")) == (
        f"cannot write to {file}/a/b: {file} is a file; choose another directory"
    )


@pytest.mark.parametrize(("flag", "why"), [(0, "no permission"), (1, "read-only disk")])
def test_a_place_that_nobody_may_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: int, why: str
) -> None:
    """Asked of the nearest folder that is there, and of both rights."""
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append((str(path), mode)))
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=flag))
    assert told(lambda: checkpoint.check_run_dir(tmp_path / "a" / "b")) == (
        f"cannot write to {tmp_path}: {why}; choose another directory"
    )
    assert asked == [(str(tmp_path), os.W_OK | os.X_OK)]


def test_a_save_that_failed_tells_which_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: object) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_whole", full)
    assert told(lambda: save(tmp_path, 7)) == (
        f"cannot save step 7 in {tmp_path}: No space left on device; none was saved yet: make "
        f"room, then go on with `ooc resume {tmp_path}`"
    )
    for step in (3, 5):
        checkpoint._file(tmp_path, step).touch()
    assert "; the checkpoint of step 5 is whole: make room" in told(lambda: save(tmp_path, 7))


def test_a_folder_that_holds_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacks = (
        "{} holds no saved run: checkpoints/step-*.npz is missing; give the directory that `ooc "
        "train --run` wrote"
    )
    begun = (
        "{} holds a run of which nothing was saved yet, so that there is nothing to go on with; if "
        "it was killed, give the command that began it again"
    )
    for names, message in (((), lacks), (("lock",), begun), (("checkpoints",), begun),
                           (("lock", "run.json"), lacks)):  # fmt: skip
        folder = tmp_path / ("a" + "-".join(names))
        folder.mkdir()
        for name in names:
            (folder / name).mkdir()
        assert told(lambda folder=folder: ooc.load(folder)) == message.format(folder)  # type: ignore[misc]
    for place in (tmp_path, tmp_path / "checkpoints"):
        place.mkdir(exist_ok=True)
        monkeypatch.setattr(os, "access", lambda path, mode, no=place: Path(path) != no)
        assert told(lambda: ooc.load(tmp_path)) == (
            f"cannot read {place}: no permission; ask its owner for it"
        )


def test_of_checkpoints_that_are_damaged(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Each is told with what is wrong with it, and the one that is taken."""
    for step in (1, 2, 3):
        save(tmp_path, step, note=step)
    for step, place in ((3, b"note"), (2, b"PK")):
        file = checkpoint._file(tmp_path, step)
        file.write_bytes(file.read_bytes().replace(place, b"mote"[: len(place)], 1))
    assert checkpoint.load(tmp_path)[1]["note"] == 1
    newest, before = (str(each.message) for each in recwarn.list)
    for text, step in ((newest, 3), (before, 2)):
        file = checkpoint._file(tmp_path, step)
        assert text.startswith(f"the checkpoint {file} is damaged: ")
        assert text.endswith("; took that of step 1")
    checkpoint._file(tmp_path, 1).write_bytes(b"")
    whole = told(lambda: checkpoint.load(tmp_path))
    file = checkpoint._file(tmp_path, 3)
    begins = f"no checkpoint in {tmp_path} is whole: the checkpoint {file} is damaged: "
    assert whole.startswith(begins)
    assert whole.endswith("; remove the directory and train it again")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("parameters", "its array parameters is not the one that was saved"),
        ("description", "its description is not the one that was saved"),
    ],
)
def test_an_array_that_was_changed_in_a_file_that_is_whole(
    tmp_path: Path, name: str, why: str
) -> None:
    save(tmp_path, 1)
    file = checkpoint._file(tmp_path, 1)
    with np.load(file) as members:
        arrays = {each: members[each] for each in members.files}
    arrays[name] = arrays[name] + arrays[name].dtype.type(1)
    np.savez(file, **arrays)
    with pytest.raises(checkpoint.DamagedError) as error:
        checkpoint.read(file)
    assert str(error.value) == f"the checkpoint {file} is damaged: {why}"


def test_a_member_that_says_that_it_is_larger_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    file = checkpoint._file(tmp_path, 1)
    size = file.stat().st_size
    for extra, is_damage in ((0, False), (1, True)):
        member = SimpleNamespace(
            compress_type=zipfile.ZIP_STORED, file_size=size + extra, filename="a.npy"
        )
        monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda packed, member=member: [member])
        if is_damage:
            assert "its member a.npy is packed, which ooc does not do" in told(
                lambda: checkpoint.read(file)
            )
        else:
            checkpoint.read(file)


def test_another_format_names_both_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    file = checkpoint._file(tmp_path, 1)
    monkeypatch.setattr(checkpoint, "FORMAT", 3)
    assert told(lambda: checkpoint.load(tmp_path)) == (
        f"{file} was saved by ooc 0.2 in format 2, and ooc {VERSION} reads format 3; use ooc 0.2, "
        "or train it again"
    )


def test_what_nobody_saved_is_told_with_its_kind(tmp_path: Path) -> None:
    for error in (KeyError("a"), TypeError("b"), ValueError("c"), AttributeError("d")):

        def fail(error: Exception = error) -> None:
            with checkpoint.understood(tmp_path):
                raise error

        assert told(fail) == (
            f"the checkpoint in {tmp_path} holds what ooc does not save "
            f"({type(error).__name__}: {error}); remove it to take the one before, or train the "
            "run again"
        )

    def refuse() -> None:
        with checkpoint.understood(tmp_path):
            raise InputError("as it is")

    assert told(refuse) == "as it is"


def test_a_folder_that_another_process_has_or_that_cannot_be_made(tmp_path: Path) -> None:
    def lock(folder: Path) -> None:
        with run_directory.locked(folder):
            raise AssertionError

    with run_directory.locked(tmp_path / "a"):
        assert told(lambda: lock(tmp_path / "a")) == (
            f"{tmp_path}/a is being trained in by process {os.getpid()}; wait for it, stop it, or "
            "choose another directory"
        )
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "b"
    assert told(lambda: lock(folder)) == (
        f"cannot write to {folder}: Not a directory; choose another directory"
    )


def test_a_history_that_would_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_directory.append_history(tmp_path, {"step": 1})
    size = (tmp_path / run_directory.HISTORY).stat().st_size
    monkeypatch.setattr(run_directory, "MOST_BYTES", size)
    assert [*run_directory.read_history(tmp_path)] == [{"kind": "", "step": 1}]
    monkeypatch.setattr(run_directory, "MOST_BYTES", size - 1)
    whole = told(lambda: [*run_directory.read_history(tmp_path)])
    assert whole.startswith(f"{tmp_path}/history.jsonl has ")
    assert whole.endswith("; remove it: a run goes on without its history")


def test_a_line_as_long_as_may_be_is_read_and_what_is_longer_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_directory, "MOST_LINE_BYTES", 24)
    lines = ['{"step": 1}\n', '{"step": 2, "a": "xyz"}\n',
             '{"step": 3, "a": "xyzw"}\n', '{"step": 4}\n']  # fmt: skip
    (tmp_path / run_directory.HISTORY).write_text("".join(lines))
    assert [line["step"] for line in run_directory.read_history(tmp_path)] == [1, 2, 4]


def test_data_that_do_not_fit_a_model(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "a.zarr", X=np.ones((10, 3)))
    run = trained(Logistic(standardise=False))
    assert told(lambda: check_scorable(run.model, dataset, (6,))) == (
        f"the model was trained on rows of shape (6,), but X of {dataset.path} has rows of shape "
        "(3,)"
    )
    assert told(lambda: check_targets(run.model, dataset)) == (
        f"{dataset.path} has no targets; name those to compare with by target="
    )
    two = write_dataset(tmp_path / "b.zarr", X=np.ones((10, 6)), y=np.ones((10, 2)))
    with pytest.raises(InputError, match="target"):
        check_targets(Linear(), two)


def test_a_run_of_other_parameters_is_told_whole(tmp_path: Path) -> None:
    model = Linear(standardise=False, standardise_target=False)
    described = {"results": {}, "model": model.to_config(), "row_shape": [4]}
    checkpoint.save(tmp_path, 1, ARRAYS, described)
    assert told(lambda: ooc.load(tmp_path)) == (
        f"the run in {tmp_path} holds 3 parameters, but its linear for rows of shape (4,) has 5; "
        "give the model that it was trained with"
    )
