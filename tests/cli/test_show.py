"""Tables for people: everything is there, and can be read."""

import json

import numpy as np
import pytest

from ooc.cli.show import NOTES, _readable, note_skipped, show_measured


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")


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


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("bytes_per_second", 1.5e9, "1.500 GB/s"),
        ("disk_bytes_per_second", 2_500_000, "0.003 GB/s"),
        ("memory_budget_bytes", 2**30, "1.00 GiB"),
        ("total_seconds", 1.26, "1.3"),
        ("seconds", 1.26, "1.26"),
        ("loss", 0.123456789, "0.123457"),
        ("loss", 999.96, "999.96"),
        ("loss", 1000.0, "1,000"),
        ("loss", -1234.6, "-1,235"),
        ("loss", 1e15, "1e+15"),
        ("rows", 1234567, "1,234,567"),
        ("stopped_early", True, "True"),
        ("run", "runs/a", "runs/a"),
    ],
)
def test_values_are_in_units_that_people_read(key: str, value: object, text: str) -> None:
    assert _readable(key, value) == text


def lines_of(out: str) -> list[str]:
    return [" ".join(line.replace("│", " ").split()) for line in out.splitlines()]


def test_what_belongs_together_stands_together_and_the_rest_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = {
        "run": "runs/a", "memory_budget_bytes": 2**20, "seconds": 2.0, "steps": 7, "rows": 9,
        "validation": {"loss": 0.25, "auc": 0.75}, "best_step": 5, "block_rows": 3, "loss": 0.5,
    }  # fmt: skip
    lines = [line for line in lines_of(shown(result, capsys)) if line and line[0].isalpha()]
    assert lines[:-1] == [
        "loss 0.5", "validation loss 0.25", "validation auc 0.75", "best step 5", "rows 9",
        "steps 7", "seconds 2", "memory budget 1.00 MiB", "block rows 3", "run runs/a",
    ]  # fmt: skip
    assert lines[-1].startswith("total seconds")


@pytest.mark.parametrize("classes", [6, 7, 20, 21])
def test_how_much_is_told_depends_on_the_classes(
    capsys: pytest.CaptureFixture[str], classes: int
) -> None:
    """A small matrix whole, of a larger one its largest entries; classes where they are few."""
    matrix = np.diag(np.full(classes, 1000))
    matrix[0, 1], matrix[2, 1], matrix[1, 0] = 1500, 20, 1500
    names = [f"n{number}" for number in range(classes)]
    shares = {name: [0.5] * classes for name in ("precision", "recall", "f1")}
    per_class = {**shares, "weight": [1500.0] * classes}
    found = {"accuracy": 0.5, "confusion_matrix": matrix.tolist(), "per_class": per_class}
    lines = lines_of(shown({**found, "class_names": names}, capsys))
    if classes <= 6:
        assert "rows by true and predicted label" in lines
        assert "true n0 1,000 1,500 0 0 0 0" in lines
    else:
        size = f"{classes} x {classes}"
        title = f"largest entries of the {size} confusion matrix; all are in runs/a/run.json"
        assert title in lines
        taken = [line for line in lines if "taken for" in line]
        assert taken == [
            "true n0 taken for n1 1,500", "true n1 taken for n0 1,500", "true n2 taken for n1 20",
        ]  # fmt: skip
    assert ("class n0 0.5000 0.5000 0.5000 1,500" in lines) == (classes <= 20)
    unnamed = lines_of(shown({"validation": found}, capsys))
    assert ("class 1 0.5000 0.5000 0.5000 1,500" in unnamed) == (classes <= 20)
    named = lines_of(shown({"validation": {**found, "class_names": names}}, capsys))
    assert ("class n1 0.5000 0.5000 0.5000 1,500" in named) == (classes <= 20)


def test_rows_that_were_left_out_are_counted_in_one_line() -> None:
    NOTES.clear()
    note_skipped({"skipped_chunks": 0, "skipped_rows": 0})
    note_skipped({})
    assert NOTES == []
    note_skipped({"skipped_chunks": 1200, "skipped_rows": 34567})
    assert NOTES == [
        "ooc: 1,200 times a chunk could not be read, and 34,567 rows were left out; "
        "`ooc info DATA --verify` lists them"
    ]
    NOTES.clear()
