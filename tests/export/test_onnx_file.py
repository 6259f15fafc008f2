"""An exported model says under onnxruntime what it says here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from random_runs import rows_of, trained

from ooc.core.errors import InputError
from ooc.kernels.activations import ACTIVATIONS
from ooc.models import MLP, MODELS, Autoencoder, Linear, Logistic, Softmax, from_config
from ooc.models.standardise import FEATURES
from ooc.runs.run import Run

# What a model of the table needs beside its name, and what makes it small.
SETTINGS: Mapping[str, dict[str, Any]] = {
    "softmax": {"classes": 3},
    "mlp": {"hidden": (5, 4), "activation": "tanh"},
    "autoencoder": {"hidden": (4,), "code": 2, "activation": "gelu"},
}


def outputs_under_onnxruntime(path: Path, rows: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": rows}), strict=True))


def check_same(run: Run, path: Path, rows: np.ndarray) -> None:
    found = outputs_under_onnxruntime(path, rows)
    expected = run.model.predict(run.parameters, rows)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].shape == values.shape
        assert found[name].dtype == values.dtype
        size = np.abs(values).max()
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5 * size, err_msg=name)


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].layers])
def test_a_model_of_the_table_says_the_same(tmp_path: Path, name: str, standardise: bool) -> None:
    run = trained(from_config({"name": name, "standardise": standardise, **SETTINGS.get(name, {})}))
    path = run.export(tmp_path / "model.onnx")
    assert path == tmp_path / "model.onnx"
    check_same(run, path, rows_of(run))


@pytest.mark.slow
@pytest.mark.parametrize("input_dtype", ["float64", "int32"])
def test_rows_far_from_zero_keep_their_meaning(tmp_path: Path, input_dtype: str) -> None:
    """Times in seconds, of which float32 holds but every 128th."""
    run = trained(Logistic(standardise=True))
    views = run.layout.views(run.parameters)
    mean, rest, deviation = (views[name] for name in FEATURES)
    mean[:], rest[:], deviation[:] = 1.7e9, 37.0, 5.0
    rows = (1.7e9 + 37 + np.random.default_rng(3).integers(-9, 9, (50, 6))).astype(input_dtype)
    check_same(run, run.export(tmp_path / "a.onnx", input_dtype=input_dtype), rows)
    assert 0 < run.predict(rows).mean() < 1


@pytest.mark.parametrize("row_shape", [(2, 3), ()])
@pytest.mark.parametrize("case", ["bytes", "counts"])
def test_some_settings_are_part_of_the_graph(
    tmp_path: Path, case: str, row_shape: tuple[int, ...]
) -> None:
    run = trained(COMBINATIONS[case], row_shape)
    for dtype in ("float64", "uint8", "int32"):
        check_same(
            run, run.export(tmp_path / f"{dtype}.onnx", input_dtype=dtype), rows_of(run, dtype)
        )


COMBINATIONS = {
    "float64": Logistic(dtype="float64", standardise=True),
    "no intercept": Logistic(intercept=False, standardise=True),
    "bytes": Softmax(classes=4, scale=1 / 255, standardise=False),
    "counts": Linear(loss="poisson", scale=1 / 255, standardise=False),
    "standard targets": Linear(standardise=True, standardise_target=True),
    "several numbers": MLP((5,), head="regression", outputs=3, standardise_target=True),
    "classes": MLP((5,), head="multiclass", outputs=3, dtype="float64", standardise=True),
    "ordered classes": MLP((5,), head="ordinal", outputs=4, standardise=True),
    "two ordered classes": MLP((), head="ordinal", outputs=2, dtype="float64", standardise=True),
    "reconstruction": Autoencoder((4,), code=2, dtype="float64", standardise=True),
}


@pytest.mark.parametrize(
    "case", ["no intercept", "standard targets", "several numbers", "ordered classes"]
)
def test_more_settings_are_part_of_the_graph(tmp_path: Path, case: str) -> None:
    run = trained(COMBINATIONS[case])
    check_same(run, run.export(tmp_path / "a.onnx"), rows_of(run))


@pytest.mark.slow
@pytest.mark.parametrize("row_shape", [(6,), (2, 3), ()])
@pytest.mark.parametrize("case", COMBINATIONS)
def test_settings_are_part_of_the_graph(
    tmp_path: Path, case: str, row_shape: tuple[int, ...]
) -> None:
    run = trained(COMBINATIONS[case], row_shape)
    for dtype in ("float32", "float64", "uint8", "int32", "float16"):
        if run.model.standardise and dtype in ("uint8", "float16"):
            continue  # the numbers of this test do not fit
        path = run.export(tmp_path / f"{dtype}.onnx", input_dtype=dtype)
        check_same(run, path, rows_of(run, dtype))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_those_of_the_kernels(tmp_path: Path, activation: str, dtype: str) -> None:
    model = MLP((7,), activation=activation, head="regression", standardise=False, dtype=dtype)
    run = trained(model)
    check_same(run, run.export(tmp_path / "a.onnx"), 3 * rows_of(run))


@pytest.mark.parametrize(
    ("model", "names", "metadata"),
    [
        (Logistic(standardise=False), ["no", "yes"], '["no", "yes"]'),
        (Softmax(classes=3, standardise=False), np.array([7, 3, 5]), "[7, 3, 5]"),
    ],
)
def test_labels_have_their_names(tmp_path: Path, model: Any, names: Any, metadata: str) -> None:
    run = trained(model)
    path = run.export(tmp_path / "a.onnx", class_names=names, feature_names=list("abcdef"))
    rows = rows_of(run)
    found = outputs_under_onnxruntime(path, rows)["prediction"]
    assert found.tolist() == np.asarray(names)[run.predict(rows)].tolist()
    assert len(set(found.tolist())) > 1
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    assert told["classes"] == metadata
    assert told["features"] == '["a", "b", "c", "d", "e", "f"]'


def test_one_file_takes_any_number_of_rows(tmp_path: Path) -> None:
    run = trained(Logistic(standardise=True))
    path = run.export(tmp_path / "a.onnx")
    for count in (1, 7):
        check_same(run, path, rows_of(run, count=count))


def test_more_than_a_file_may_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.export.onnx_file.MOST_BYTES", 16)
    with pytest.raises(InputError, match="holds less than 16 B, and the parameters have 28 B; exp"):
        trained(Logistic(standardise=False)).export(tmp_path / "a.onnx")


class Squared(Logistic):
    """Scores in a way of its own, which its layers do not tell."""

    def scores(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        return super().scores(parameters, features) ** 2


def test_a_model_that_scores_in_its_own_way_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its probability is not what the dense layers"):
        trained(Squared(standardise=False)).export(tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []
