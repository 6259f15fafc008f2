"""Files by their suffix: coefficients of features as they are, tensors, and what is refused."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_runs import rows_of, trained
from safetensors import safe_open
from shell import called, refused

import ooc
from ooc.core.errors import InputError
from ooc.export import FORMATS
from ooc.models import MLP, Linear, Logistic, Softmax

FEATURES = ["age", "mass, kg", 'the "rest"', "x", "y", "z"]


def test_coefficients_as_json_give_the_scores(tmp_path: Path) -> None:
    """Of features and targets that were standardised in training."""
    run = trained(Linear(standardise=True, standardise_target=True, dtype="float64"))
    told = json.loads(run.export(tmp_path / "a.json", feature_names=FEATURES).read_text())
    assert list(told["coefficients"]) == FEATURES
    rows = rows_of(run, np.float64)
    scores = rows @ np.array(list(told["coefficients"].values())) + told["intercept"]
    np.testing.assert_allclose(scores[:, 0], run.predict(rows), rtol=1e-9)
    assert told["link"] == "identity"


def test_coefficients_as_csv_have_a_column_a_class(tmp_path: Path) -> None:
    run = trained(Softmax(classes=3, standardise=True, dtype="float64"))
    names = ["b", "a", "c"]
    path = run.export(tmp_path / "a.csv", feature_names=FEATURES, class_names=names)
    head, intercept, *lines = list(csv.reader(path.open()))
    assert head == ["feature", *names]
    assert intercept[0] == "(intercept)"
    assert [line[0] for line in lines] == FEATURES
    rows = rows_of(run, np.float64)
    table = np.array([line[1:] for line in lines], float)
    scores = rows @ table + np.array(intercept[1:], float)
    np.testing.assert_allclose(scores, run.predict(rows, "scores"), rtol=1e-9)


def test_features_without_names_are_numbered_along_all_axes(tmp_path: Path) -> None:
    path = trained(Logistic(standardise=False), (2, 2)).export(tmp_path / "a.csv")
    lines = [line[0] for line in csv.reader(path.open())]
    assert lines == ["feature", "(intercept)", "x0_0", "x0_1", "x1_0", "x1_1"]


def test_tensors_are_the_parts_of_the_parameters(tmp_path: Path) -> None:
    run = trained(MLP((5,), standardise=True))
    path = run.export(tmp_path / "a.safetensors", class_names=["no", "yes"])
    with safe_open(path, "np") as file:
        parts = run.layout.views(run.parameters)
        assert set(file.keys()) == set(parts)
        for name, values in parts.items():
            np.testing.assert_array_equal(file.get_tensor(name), values)
        told = json.loads(file.metadata()["ooc"])
    assert told["model"]["hidden"] == [5]
    assert told["classes"] == ["no", "yes"]


@pytest.mark.parametrize(
    ("model", "name", "options", "told"),
    [
        (Logistic(), "a.pkl", {}, "written as a.pkl; name it by one of: .onnx, .json, .csv, .saf"),
        (Logistic(), "a", {}, "name it by one of"),
        (MLP((3,)), "a.csv", {}, "mlp has no coefficients.*export it as .onnx or .safetensors"),
        (MLP((3,)), "a.json", {}, "mlp has no coefficients.*export it as .onnx or .safetensors"),
        (Logistic(), "no/a.csv", {}, "the folder .*no of a.csv does not exist; make it first"),
        (Logistic(), "a.csv", {"feature_names": ["a"]}, "has 6 of what feature names are for"),
        (Logistic(), "a.csv", {"feature_names": list("abcdea")}, "one of them is there twice"),
        (Linear(), "a.csv", {"class_names": ["a"]}, "has 0 of what class names are for"),
        (Logistic(), "a.csv", {"input_dtype": "uint8"}, "leave it out, or choose .onnx"),
        (
            Logistic(),
            "a.onnx",
            {"input_dtype": "complex64"},
            "no input dtype is called 'complex64'; choose one of: float16, ",
        ),
        (
            Logistic(),
            "a.onnx",
            {"input_dtype": "colour"},
            "no input dtype is called 'colour'; choose one of",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    tmp_path: Path, model: Any, name: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told) as error:
        trained(model).export(tmp_path / name, **options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_is_there_stays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("mine")
    with pytest.raises(InputError, match="already exists; choose another path or remove it first"):
        trained(Logistic()).export(path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("suffix", "package"), [(".onnx", "onnx"), (".safetensors", "safetensors.numpy")]
)
def test_without_its_package_a_format_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"not installed; pip install 'ooc\[export\]' brings it"):
        trained(Logistic()).export(tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_shell_writes_what_python_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ooc.synthetic.make("small.zarr", ooc.synthetic.Recipe("logistic", 500, 2))
    stored = ooc.open("small.zarr")
    run = ooc.Trainer(Logistic(), ooc.optim.sgd(0.1), memory="512MiB").fit(stored, run_dir="runs/a")
    Path("names.txt").write_text("first\nsecond\n")
    names = ["--feature-names", "names.txt", "--class-names", "no,yes"]
    for suffix in FORMATS:
        told = called(capsys, "export", "runs/a", f"shell{suffix}", *names)
        assert told["path"] == f"shell{suffix}"
        assert told["file_bytes"] == Path(f"shell{suffix}").stat().st_size
        given = {"feature_names": ["first", "second"], "class_names": ["no", "yes"]}
        run.export(f"python{suffix}", **given)
        assert Path(f"python{suffix}").read_bytes() == Path(f"shell{suffix}").read_bytes()
    assert "already exists" in refused(capsys, "export", "runs/a", "shell.csv")
    assert "is a URL" in refused(capsys, "export", "runs/a", "s3://bucket/a.csv")
