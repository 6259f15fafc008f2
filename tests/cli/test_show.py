"""Tables for people: everything is there, and can be read."""

import json

import numpy as np
import pytest

from ooc.cli.show import show_measured


def shown(result: dict, capsys: pytest.CaptureFixture[str], as_json: bool = False) -> str:
    show_measured(result, as_json, "runs/a/run.json")
    return capsys.readouterr().out


def test_a_validation_is_rows_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    matrix = [[9, 1], [2, 8]]
    found = {"loss": 0.25, "accuracy": 0.85, "r2": None, "confusion_matrix": matrix}
    result = {"loss": 0.5, "validation_loss": 0.25, "validation": found, "terms": {"kl": 2.0}}
    out = shown(result, capsys)
    for words in (("validation accuracy", "0.85"), ("terms kl", "2"), ("true 1", "2", "8")):
        assert any(all(word in line for word in words) for line in out.splitlines()), words
    assert "{" not in out and "r2" not in out and out.count("validation loss") == 1
    assert "total seconds" in out
    printed = json.loads(shown(result, capsys, as_json=True))
    assert printed.pop("total_seconds") > 0
    assert printed == result


def test_classes_and_residuals_are_told_and_lists_are_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = {"loss": 0.25, "accuracy": 0.85, "confusion_matrix": [[9, 1], [0, 0]]}
    shares = {"precision": [1.0, None], "recall": [0.9, 0.25], "f1": [0.947, None]}
    found["per_class"] = {**shares, "weight": [10, 0]}
    found["calibration"] = {"predicted": [0.125], "observed": [0.5], "weight": [10.0]}
    out = shown({"validation": {**found, "calibration_error": 0.375}}, capsys)
    lines = out.splitlines()
    assert any("class 0" in line and "1.0000" in line and "0.9470" in line for line in lines)
    assert any("class 1" in line and "none" in line and "0.2500" in line for line in lines)
    assert "validation calibration error" in out and "0.125" not in out
    quantiles = {"0.05": -2.5, "0.5": 0.125, "0.95": 3.5}
    out = shown({"residuals": {"quantiles": quantiles, "edges": [777], "weight": []}}, capsys)
    assert "90% from -2.5 to 3.5, median 0.125" in out and "777" not in out
    assert "residuals" not in shown({"residuals": None}, capsys)


def test_of_a_large_matrix_the_largest_confusions_are_told(
    capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    matrix = rng.permutation(64).reshape(8, 8)
    out = shown({"accuracy": 0.1, "confusion_matrix": matrix.tolist()}, capsys)
    assert "8 x 8" in out and "runs/a/run.json" in out
    off = matrix - np.diag(np.diag(matrix)) - 100 * np.eye(8)
    lines = [line for line in out.splitlines() if "taken for" in line]
    for line, place in zip(lines, np.argsort(-off, axis=None)[:5], strict=True):
        label, taken = divmod(int(place), 8)
        assert f"true {label} taken for {taken}" in line and str(matrix[label, taken]) in line


def test_a_matrix_of_too_many_classes_is_told_to_be_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = shown({"accuracy": 0.1, "confusion_matrix": None}, capsys)
    assert "no confusion matrix: it is counted for up to 100 classes" in found
    assert "matrix" not in shown({"accuracy": 0.1}, capsys)


def test_nothing_of_a_name_or_a_hash_is_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    name = "x" * 200
    assert "".join(shown({"run": name}, capsys).split()).count("x") == len(name)
