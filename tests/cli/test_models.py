"""Options about a model: nothing is ignored, nothing is guessed in silence."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import write_dataset
from shell import called, make_small, refused

import ooc
from ooc.cli import main
from ooc.cli.models import ModelOptions, _head_by_targets, _own_settings
from ooc.cli.show import NOTES
from ooc.core.errors import InputError
from ooc.models import MODELS, from_config
from ooc.models.regression import Linear
from ooc.store.dataset import Dataset


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
def test_whole_numbers_are_not_taken_for_labels(
    here: Path, capsys: pytest.CaptureFixture[str], dtype: str
) -> None:
    """They may be classes or counts, and only the user knows."""
    write_dataset(here / "a.zarr", X=np.ones((500, 8), "f4"), y=(np.arange(500) % 7).astype(dtype))
    options = ["--model", "mlp", "--memory", "512MiB", "--lr", "0.01", "--epochs", "1"]
    found = refused(capsys, "train", "a.zarr", *options)
    for part in (
        "whole numbers, from 0 to 6 in the first",
        "--head multiclass",
        "--head ordinal",
        "regression",
    ):
        assert part in found
    for head, outputs in (("multiclass", 7), ("ordinal", 7), ("regression", 1)):
        run = ["--run", f"runs/{head}"]
        called(capsys, "train", "a.zarr", *options, "--head", head, *run)
        saved = json.loads(Path("runs", head, "run.json").read_text())["model"]
        assert (saved["head"], saved["outputs"]) == (head, outputs)


@pytest.mark.slow_after(2)
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


def test_labels_that_begin_with_one_class_alone_are_two(tmp_path: Path) -> None:
    y = np.repeat([0, 1], 250)
    dataset = write_dataset(tmp_path / "a.zarr", X=np.ones((500, 2), np.float32), y=y)
    assert _head_by_targets(dataset, None)[0] == "binary"
    floats = write_dataset(tmp_path / "b.zarr", X=np.ones((500, 2)), y=1.0 - y)
    assert _head_by_targets(floats, None)[0] == "binary"


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
    with pytest.raises(
        InputError, match=r"ridge has no --hidden; .* --model mlp, autoencoder or embedding_mlp"
    ):
        ModelOptions("ridge", hidden="8").config(dataset)
    with pytest.raises(
        InputError, match=r"logistic has no --dropout; .*, autoencoder, embedding_mlp or ridge"
    ):
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


def message_of(dataset: Dataset, *options: str | None, **more: object) -> str:
    with pytest.raises(InputError) as refused:
        ModelOptions(*options, **more).config(dataset)  # type: ignore[arg-type]
    return str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"weight_decay": 0.5},
            "logistic has no --weight-decay; leave it out, or choose --model mlp, autoencoder or "
            "embedding_mlp",
        ),
        ({"feature_scale": "a/b"}, "'a/b' is not a factor; write it as 0.5 or 1/255"),
        ({"feature_scale": "1/0"}, "'1/0' is not a factor; write it as 0.5 or 1/255"),
        ({"standardise": "maybe"}, "--standardise is one of yes, no, auto, not 'maybe'"),
        (
            {"model": "linear", "standardise_target": "on"},
            "--standardise-target is one of yes, no, auto, not 'on'",
        ),
        ({"class_weights": "1;2"}, "--class-weights are balanced or numbers as in 1,5, not '1;2'"),
        (
            {"model": "mlp", "head": "regression", "classes": 3},
            "the regression head has no --classes; leave it out, or --head multiclass or --head "
            "ordinal",
        ),
        (
            {"model": "logistic:dtype"},
            "--model logistic:dtype is to be NAME:SETTING=VALUE; logistic has dtype",
        ),
        (
            {"model": "logistic:intercept=false"},
            "--model logistic:intercept=false is to be NAME:SETTING=VALUE; logistic has dtype",
        ),
    ],
)
def test_what_a_model_cannot_take_is_said_in_full(
    dataset: Dataset, options: dict[str, object], message: str
) -> None:
    assert message_of(dataset, **options) == message


def test_settings_of_its_own_are_json_or_else_text() -> None:
    text = "a=3,b=0.5,c=true,d=null,e=fast"
    found = _own_settings("own", text, {"a", "b", "c", "d", "e"})
    assert found == {"a": 3, "b": 0.5, "c": True, "d": None, "e": "fast"}
    assert type(found["a"]) is int
    assert _own_settings("own", "", {"a"}) == {}
    lists = _own_settings("own", "a=[3,4],b=[],c=5", {"a", "b", "c"})
    assert lists == {"a": [3, 4], "b": [], "c": 5}
    for known, taken in ((set("edcba"), "own has a, b, c, d, e"), (set(), "own has none")):
        with pytest.raises(InputError, match=f"is to be NAME:SETTING=VALUE; {taken}$"):
            _own_settings("own", "x=1", known)


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({}, {"name": "logistic"}),
        ({"feature_scale": "1/4"}, {"name": "logistic", "scale": 0.25}),
        ({"standardise": "auto"}, {"name": "logistic", "standardise": "auto"}),
        ({"standardise": "yes"}, {"name": "logistic", "standardise": True}),
        ({"class_weights": "balanced"}, {"name": "logistic", "class_weights": "balanced"}),
        ({"model": "logistic:dtype=float64"}, {"name": "logistic", "dtype": "float64"}),
        ({"model": "autoencoder", "hidden": " "}, {"name": "autoencoder", "hidden": ()}),
        (
            {"model": "mlp", "hidden": "8, 4", "head": "binary"},
            {"name": "mlp", "hidden": (8, 4), "head": "binary"},
        ),
        (
            {"model": "mlp", "head": "multiclass", "classes": 5},
            {"name": "mlp", "head": "multiclass", "outputs": 5},
        ),
        ({"model": "mlp", "classes": 3}, {"name": "mlp", "head": "multiclass", "outputs": 3}),
        (
            {"model": "mlp", "head": "regression"},
            {"name": "mlp", "head": "regression", "outputs": 1},
        ),
        ({"model": "softmax", "classes": 5}, {"name": "softmax", "classes": 5}),
        ({"model": "softmax"}, {"name": "softmax", "classes": 2}),
    ],
)
def test_options_are_what_a_model_is_made_from(
    dataset: Dataset, options: dict[str, object], config: dict[str, object]
) -> None:
    assert ModelOptions(**options).config(dataset) == config  # type: ignore[arg-type]


def test_targets_of_several_numbers_have_an_output_each(tmp_path: Path) -> None:
    x = np.ones((20, 2), np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=np.full((20, 2, 3), 0.5))
    config = ModelOptions("mlp").config(dataset)
    assert config == {"name": "mlp", "head": "regression", "outputs": 6}


def test_classes_that_were_counted_are_told_and_noted_ones_are_not(
    dataset: Dataset, tmp_path: Path
) -> None:
    NOTES.clear()
    ModelOptions("softmax").config(dataset)
    assert NOTES == ["classes: 2, by the targets y"]
    NOTES.clear()
    group = zarr.open_group(dataset.path, mode="r+")
    group.update_attributes({"classes": 4})
    noted = ooc.open(dataset.path)
    assert ModelOptions("softmax").config(noted)["classes"] == 4
    assert NOTES == []
    ModelOptions("mlp").config(noted)
    assert [f"head: multiclass, as {dataset.path} notes 4 classes; --head chooses another"] == NOTES
    NOTES.clear()
    ModelOptions("mlp", classes=7).config(noted)
    assert NOTES == ["head: multiclass, as --classes is 7; --head chooses another"]
    NOTES.clear()


def test_a_head_needs_targets_that_tell_it(tmp_path: Path) -> None:
    """None at all, none in the first chunk, or whole numbers: all of them ask for it."""
    x = np.ones((20, 2), np.float32)
    bare = write_dataset(tmp_path / "a.zarr", X=x)
    assert message_of(bare, "mlp") == (
        f"{bare.path} has no targets; name those to train on with --target"
    )
    missing = write_dataset(tmp_path / "b.zarr", X=x, y=np.full(20, -1, np.int16))
    y = zarr.open_group(missing.path, mode="r+")["y"]
    y.update_attributes({"_FillValue": -1})
    assert message_of(ooc.open(missing.path), "mlp") == (
        f"targets y of {missing.path} are all missing in the first chunk; give --head"
    )
    y[:] = np.arange(20) % 5 + 3
    y[0] = -1
    # Read as fractions, for some are missing, they are whole numbers still.
    assert message_of(ooc.open(missing.path), "mlp").startswith(
        f"targets y of {missing.path} are whole numbers, from 3 to 7 in the first "
    )
    counts = write_dataset(tmp_path / "c.zarr", X=x, y=np.arange(20, dtype=np.uint8) * 2 + 3)
    first = counts.arrays["y"].chunks[0]
    assert message_of(counts, "mlp") == (
        f"targets y of {counts.path} are whole numbers, from 3 to {3 + 2 * (first - 1)} in the "
        f"first {first} rows, which may be classes or counts; give --head multiclass, --head "
        "ordinal where classes have an order, or --head regression"
    )


def test_labels_by_name_are_classes_even_where_they_are_three(tmp_path: Path) -> None:
    x, y = np.ones((20, 2), np.float32), (np.arange(20) % 3).astype(np.int8)
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=y)
    array = zarr.open_group(dataset.path, mode="r+")["y"]
    array.update_attributes({"categories": ["ant", "bee", "cat"]})
    NOTES.clear()
    config = ModelOptions("mlp").config(ooc.open(dataset.path))
    assert config == {"name": "mlp", "head": "multiclass", "outputs": 3}
    assert NOTES[0].startswith("head: multiclass, as y has 3 labels: ant, bee")
    NOTES.clear()
