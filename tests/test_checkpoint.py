"""Saves are whole or not there; damage is seen."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ooc import checkpoint
from ooc.errors import InputError


def saved(folder: Path, value: float = 1.0) -> np.ndarray:
    parameters = np.full(10, value, np.float32)
    checkpoint.save(folder, parameters, np.zeros((1, 10)), {"note": value})
    return parameters


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    parameters = saved(tmp_path)
    found, state, description = checkpoint.load(tmp_path)
    assert np.array_equal(found, parameters)
    assert state.shape == (1, 10)
    assert description["note"] == 1.0
    assert description["parameters_sha256"] == checkpoint.parameters_sha256(parameters)


def test_a_failed_save_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = saved(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        saved(tmp_path, 2.0)
    monkeypatch.undo()
    assert np.array_equal(checkpoint.load(tmp_path)[0], parameters)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no finished run: run\.json is missing"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("name", [checkpoint.ARRAYS, checkpoint.DESCRIPTION])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    saved(tmp_path)
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(InputError, match="is damaged"):
        checkpoint.load(tmp_path)


def test_other_parameters_than_noted_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    description = json.loads((tmp_path / checkpoint.DESCRIPTION).read_text())
    description["parameters_sha256"] = "0" * 64
    (tmp_path / checkpoint.DESCRIPTION).write_text(json.dumps(description))
    with pytest.raises(InputError, match="notes 000000000000"):
        checkpoint.load(tmp_path)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    saved(tmp_path)
    trap = np.array([{"code": "run me"}], dtype=object)
    np.savez(tmp_path / checkpoint.ARRAYS, parameters=trap, optimizer_state=trap)
    with pytest.raises(InputError, match=r"allow_pickle=False"):
        checkpoint.load(tmp_path)


def test_a_directory_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    checkpoint.check_run_dir(tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()
    saved(tmp_path / "new" / "run")
    with pytest.raises(InputError, match="already holds a run"):
        checkpoint.check_run_dir(tmp_path / "new" / "run")


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to .*file is a file"):
        checkpoint.check_run_dir(tmp_path / "file" / "run")
