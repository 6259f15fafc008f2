"""Options about a model: nothing is ignored, nothing is guessed in silence."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import write_dataset
from shell import called, make_small, refused

from ooc.cli import main
from ooc.cli.models import ModelOptions
from ooc.core.errors import InputError
from ooc.models import MODELS, from_config
from ooc.models.regression import Linear
from ooc.store.dataset import Dataset


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
def test_whole_numbers_are_not_taken_for_labels(
    here: Path, capsys: pytest.CaptureFixture[str], dtype: str
) -> None:
    """They may be classes or counts, and only the user knows."""
    write_dataset(here / "a.zarr", X=np.ones((500, 8), "f4"), y=(np.arange(500) % 7).astype(dtype))
    options = ["--model", "mlp", "--memory", "512MiB", "--lr", "0.01", "--epochs", "1"]
    found = refused(capsys, "train", "a.zarr", *options)
    for part in ("whole numbers, from 0 to 6 in the first", "--head multiclass", "regression"):
        assert part in found
    for head, outputs in (("multiclass", 7), ("regression", 1)):
        run = ["--run", f"runs/{head}"]
        called(capsys, "train", "a.zarr", *options, "--head", head, *run)
        saved = json.loads(Path("runs", head, "run.json").read_text())["model"]
        assert (saved["head"], saved["outputs"]) == (head, outputs)


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (np.arange(500) % 2, "head: binary, as y begins with numbers that are all 0 or 1"),
        (np.arange(500) % 2 / 1, "head: binary, as y begins with numbers that are all 0 or 1"),
        (np.arange(500) % 2 == 0, "head: binary, as y has 2 labels: False, True"),
        (np.arange(500) % 2 * 2 - 1, "head: binary, as y has 2 labels: -1, 1"),
        (np.linspace(0, 1, 500), "head: regression, as y holds float64 numbers"),
    ],
)
def test_a_head_that_was_found_is_told(
    here: Path, capsys: pytest.CaptureFixture[str], targets: np.ndarray, told: str
) -> None:
    write_dataset(here / "a.zarr", X=np.ones((500, 8), "f4"), y=targets)
    assert main(["plan", "a.zarr", "--model", "mlp", "--memory", "512MiB", "--json"]) == 0
    printed = capsys.readouterr()
    assert told in printed.err
    assert "--head chooses another" in printed.err
    json.loads(printed.out)


def test_whole_numbers_that_are_scaled_are_numbers(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is stored as 0 and 1 stands for 20 and 20.5, by the array's attributes."""
    write_dataset(here / "a.zarr", X=np.ones((500, 8), "f4"), y=(np.arange(500) % 2).astype("i2"))
    y = zarr.open_group(here / "a.zarr", mode="r+")["y"]
    y.update_attributes({"scale_factor": 0.5, "add_offset": 20.0})
    assert main(["plan", "a.zarr", "--model", "mlp", "--memory", "512MiB", "--json"]) == 0
    assert "head: regression, as y holds float64 numbers" in capsys.readouterr().err


def test_targets_that_cannot_be_read_need_a_head(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_small(here)
    file = sorted(path for path in Path("small.zarr", "y", "c").rglob("*") if path.is_file())[0]
    file.write_bytes(file.read_bytes()[:10])
    found = refused(capsys, "plan", "small.zarr", "--model", "mlp", "--memory", "512MiB")
    assert "of array y" in found
    assert "--head" in found


@dataclass(frozen=True)
class Ridge(Linear):
    """A model of one's own, with a setting that the shell has and one that it has not."""

    dropout: float = 0.25
    ridges: int = 3


def test_options_are_for_every_model_with_a_setting_of_that_name(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS, "ridge", Ridge)
    found = from_config(ModelOptions("ridge", dropout=0.5, intercept=False).config(dataset))
    assert found == Ridge(dropout=0.5, intercept=False, standardise="auto")
    with pytest.raises(InputError, match=r"ridge has no --hidden; .* --model mlp or autoencoder"):
        ModelOptions("ridge", hidden="8").config(dataset)
    with pytest.raises(InputError, match=r"logistic has no --dropout; .*, autoencoder or ridge"):
        ModelOptions("logistic", dropout=0.5).config(dataset)
    assert main(["train", "--help"]) == 0
    assert "ridge" in capsys.readouterr().out


def test_bench_says_what_it_measures(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_small(here)
    for model in ("mlp", "autoencoder"):
        found = refused(capsys, "bench", "small.zarr", "--model", model)
        assert f"{model} multiplies matrices by BLAS" in found
    assert "no --hidden" in refused(capsys, "bench", "small.zarr", "--hidden", "8")
    assert "no model is called" in refused(capsys, "bench", "small.zarr", "--model", "forest")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--optimizer", "adam:0.9,x"], "write numbers as in adam:beta1,beta2,epsilon"),
        (["--optimizer", "momentum:0.9,1,2"], "write numbers as in momentum:momentum"),
        (["--optimizer", "momentum:1.5"], "momentum must be at least 0 and below 1"),
        (["--optimizer", "newton:1"], "no optimizer is called 'newton'"),
        (["--schedule", "step:often"], "write numbers as in step:every,factor"),
        (["--model", "logistic:depth=3"], "is to be NAME:SETTING=VALUE; logistic has dtype"),
    ],
)
def test_numbers_that_follow_a_name_are_checked(
    here: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    make_small(here)
    assert says in refused(capsys, "plan", "small.zarr", *options)
