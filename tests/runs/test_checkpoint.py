"""Saves are whole or not there; damage is seen, and costs one save at most."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.core.errors import InputError
from ooc.runs import checkpoint


def saved(folder: Path, step: int = 1, value: float = 1.0) -> dict[str, np.ndarray]:
    arrays = {"parameters": np.full(10, value, np.float32), "state": np.full((1, 10), value)}
    checkpoint.save(folder, step, arrays, {"note": value})
    return arrays


def newest(folder: Path) -> Path:
    return max((folder / checkpoint.FOLDER).glob("*.npz"))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    arrays = saved(tmp_path, step=7)
    found, description = checkpoint.load(tmp_path)
    assert {name: values.tolist() for name, values in found.items()} == {
        name: values.tolist() for name, values in arrays.items()
    }
    assert (description["note"], description["step"]) == (1.0, 7)
    assert json.loads((tmp_path / checkpoint.DESCRIPTION).read_text()) == description


def test_the_last_few_are_kept(tmp_path: Path) -> None:
    for step in (1, 20, 300, 4000):
        saved(tmp_path, step)
    assert checkpoint.steps(tmp_path) == [20, 300, 4000]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_an_error_that_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    saved(tmp_path, 1, 0.5)
    saved(tmp_path, 2, 1.0)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(InputError, match=r"No space left on device; the checkpoint of step 2"):
        saved(tmp_path, 3, 2.0)
    monkeypatch.undo()
    assert checkpoint.load(tmp_path)[0]["parameters"][0] == 1.0
    assert not list(tmp_path.rglob("*.partial"))


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no saved run: .* is missing"):
        checkpoint.load(tmp_path)


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_newest_one_costs_the_work_since_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, place: float, flip: int, cut: bool
) -> None:
    """Any byte flipped, any length cut off: what is read is what was saved, or the one before."""
    folder = tmp_path_factory.mktemp("run")
    saved(folder, 1, 1.0)
    saved(folder, 2, 2.0)
    content = bytearray(newest(folder).read_bytes())
    where = int(place * len(content))
    if cut:
        content = content[:where]
    else:
        content[where] ^= flip
    newest(folder).write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        warned: list[str] = []
        patch.setattr("warnings.warn", lambda message, stacklevel: warned.append(str(message)))
        arrays, description = checkpoint.load(folder)
    value = description["note"]
    assert (arrays["parameters"] == value).all()
    assert (arrays["state"] == value).all()
    if value == 1.0:
        assert len(warned) == 1
        assert "is damaged" in warned[0]
        assert "took that of step 1" in warned[0]


@pytest.mark.parametrize(("number", "is_damage"), [(5, True), (22, True), (13, False), (24, False)])
def test_what_a_disk_cannot_read_is_damage_and_what_nobody_may_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_damage: bool
) -> None:
    """EIO and EINVAL; no permission, or too many files, pass: the newest one is still whole."""
    saved(tmp_path, 1, 1.0)
    saved(tmp_path, 2, 2.0)
    load, file = np.load, newest(tmp_path)

    def fail(path: Path, **how: object) -> object:
        if path == file:
            raise OSError(number, os.strerror(number))
        return load(path, **how)

    monkeypatch.setattr(checkpoint.np, "load", fail)
    if is_damage:
        with pytest.warns(UserWarning, match="is damaged.*took that of step 1"):
            assert checkpoint.load(tmp_path)[1]["step"] == 1
    else:
        with pytest.raises(InputError, match=f"cannot read .*{os.strerror(number)}"):
            checkpoint.load(tmp_path)


def test_where_all_are_damaged_it_says_so(tmp_path: Path) -> None:
    saved(tmp_path)
    newest(tmp_path).write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"no checkpoint in .* is whole"):
        checkpoint.load(tmp_path)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    saved(tmp_path)
    trap = np.array([{"code": "run me"}], dtype=object)
    np.savez(newest(tmp_path), parameters=trap, description=trap)
    with pytest.raises(InputError, match=r"allow_pickle=False"):
        checkpoint.load(tmp_path)


def test_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of version 0.2 is named with its version, and so is the one that would read it."""
    with monkeypatch.context() as before:
        before.setattr(checkpoint, "FORMAT", 1)
        arrays = {"parameters": np.zeros(3, np.float32)}
        checkpoint.save(tmp_path, 1, arrays, {"versions": {"ooc": "0.2.0"}})
    with pytest.raises(InputError, match=r"saved by ooc 0\.2\.0 in format 1, .* use ooc 0\.2\.0"):
        checkpoint.load(tmp_path)


def test_a_directory_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    checkpoint.check_run_dir(tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()
    saved(tmp_path / "new" / "run")
    with pytest.raises(InputError, match=r"already holds a run; go on with `ooc resume"):
        checkpoint.check_run_dir(tmp_path / "new" / "run")


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to .*file is a file"):
        checkpoint.check_run_dir(tmp_path / "file" / "run")


def test_what_came_to_nothing_is_removed(tmp_path: Path) -> None:
    saved(tmp_path / "run", 0)
    checkpoint.discard(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_member_that_unpacks_to_more_than_the_file_is_damage(tmp_path: Path) -> None:
    """What gigabytes of zeros are packed into; the save before is taken."""
    saved(tmp_path, 1, 1.0)
    saved(tmp_path, 2, 2.0)
    with zipfile.ZipFile(newest(tmp_path), "a", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("state2.npy", bytes(2**26))
    with pytest.warns(UserWarning, match="its member state2.npy is packed"):
        assert checkpoint.load(tmp_path)[1]["step"] == 1


def test_a_save_is_on_the_disk_before_it_takes_the_place_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a crash could leave: at each sync the file's name has the old content, or the new."""
    saved(tmp_path)
    before, sync, synced = newest(tmp_path).read_bytes(), os.fsync, list[str]()

    def watched(number: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{number}").readlink()))
        if synced[-1].endswith(".npz.partial"):
            assert newest(tmp_path).read_bytes() == before
        sync(number)

    monkeypatch.setattr(os, "fsync", watched)
    saved(tmp_path, value=2.0)
    folder = str(tmp_path / checkpoint.FOLDER)
    assert synced[:2] == [f"{folder}/{newest(tmp_path).name}.partial", folder]
    assert checkpoint.load(tmp_path)[0]["parameters"][0] == 2.0
