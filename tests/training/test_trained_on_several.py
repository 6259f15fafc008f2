"""Training on several stores: as on one, gone on with to the bit, and known again afterwards."""

import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import foreign, small_windows
from several import ALIKE, RAGGED, write_several
from shell import called, refused
from sklearn.linear_model import LogisticRegression

import ooc
from ooc.core.errors import DataError


def trainer(**options: object) -> ooc.Trainer:
    how = {"batch_size": 16, "memory": "512MiB", "stream": None, **options}
    return ooc.Trainer(ooc.models.Linear(), ooc.optim.sgd(0.05), **how)


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 60 * 20)


def test_stores_of_whole_chunks_train_to_the_bits_of_one(tmp_path: Path) -> None:
    several = write_several(tmp_path, ALIKE)
    arrays = {
        "X": {"data": several.X, "chunks": (20, 3)},
        "y": {"data": several.y, "chunks": (20,)},
    }
    one = ooc.open(foreign(tmp_path / "one.zarr", 3, **arrays))
    found, wanted = (trainer().fit(dataset, epochs=3) for dataset in (several.open(), one))
    np.testing.assert_array_equal(found.parameters, wanted.parameters)


@pytest.mark.slow
def test_a_run_goes_on_by_itself_to_the_same_bits(tmp_path: Path) -> None:
    several = write_several(tmp_path, RAGGED)
    whole = trainer().fit(several.open(), epochs=4)
    stop = threading.Event()
    stop.set()
    first = trainer().fit(several.open(), epochs=4, run_dir=tmp_path / "run", stop=stop)
    assert first.results["steps"] < whole.results["steps"]
    rest = ooc.resume(tmp_path / "run")
    np.testing.assert_array_equal(rest.parameters, whole.parameters)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [ALIKE, RAGGED], ids=["alike", "ragged"])
def test_validation_rows_are_held_out_again(
    tmp_path: Path, kinds: tuple[tuple[int, int, int, int], ...]
) -> None:
    several = write_several(tmp_path, kinds)
    validation = ooc.Validation(0.2, by="row", test=0.1)
    trainer(validation=validation).fit(several.open(), epochs=2, run_dir=tmp_path / "run")
    run = ooc.load(tmp_path / "run")
    held, rows = run.held_out(), len(several.X)
    assert held.rows == round(0.3 * rows) - round(0.2 * rows)
    found = run.evaluate(held, memory="512MiB")
    assert (found["rows"], "trained_on_rows" in found) == (held.rows, False)
    trained_on = run.evaluate(several.open(), memory="512MiB")["trained_on_rows"]
    assert trained_on == rows - round(0.3 * rows)


@pytest.mark.slow
def test_one_of_its_stores_is_known_again(tmp_path: Path) -> None:
    several = write_several(tmp_path, RAGGED)
    run = trainer().fit(several.open(), epochs=1)
    alone = [run.evaluate(ooc.open(path), memory="512MiB") for path in several.paths[:3]]
    assert [each["trained_on_rows"] for each in alone] == [53, 31, 77]
    others = trainer().fit(ooc.open(several.paths[:2]), epochs=1)
    both = others.evaluate(ooc.open(several.paths[1:]), memory="512MiB")
    assert both["trained_on_rows"] == 31
    assert "trained_on_rows" not in others.evaluate(ooc.open(several.paths[2]), memory="512MiB")


def test_what_is_measured_and_predicted_is_that_of_all_rows(tmp_path: Path) -> None:
    several = write_several(tmp_path, RAGGED)
    run = trainer().fit(several.open(), epochs=3)
    predicted = run.predict(several.open(), memory="512MiB")
    np.testing.assert_allclose(predicted, run.predict(several.X), rtol=1e-6)
    residuals = several.y - predicted.astype(np.float64)
    r2 = 1 - (residuals**2).sum() / ((several.y - several.y.mean()) ** 2).sum()
    assert run.evaluate(several.open(), memory="512MiB")["r2"] == pytest.approx(r2, rel=1e-5)


@pytest.mark.slow
def test_classes_are_those_of_all_stores(tmp_path: Path, rng: np.random.Generator) -> None:
    """Each with its own categories, in AnnData's layout."""
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    centres = {"a": [2.0, 0.0], "b": [0.0, 2.0], "c": [-2.0, -2.0]}
    rows, names = [], []
    for number, kinds in enumerate([["b", "a"], ["c", "b"]]):
        own = rng.choice(kinds, 300)
        x = (np.array([centres[each] for each in own]) + rng.standard_normal((300, 2))).astype("f4")
        table = pandas.DataFrame({"kind": pandas.Categorical(own)}, [str(k) for k in range(300)])
        anndata.AnnData(x, obs=table).write_zarr(tmp_path / f"{number}.zarr", chunks=[50, 2])
        rows.append(x)
        names.append(own)
    dataset = ooc.open(str(tmp_path / "*.zarr"), target="obs/kind")
    model = ooc.models.Softmax(classes=3)
    run = ooc.Trainer(model, ooc.optim.sgd(0.1), 30, memory="512MiB").fit(dataset, epochs=5)
    assert run.class_names == ("a", "b", "c")
    x, wanted = np.concatenate(rows), np.concatenate(names)
    ours = np.mean(run.predict(dataset, memory="512MiB") == wanted)
    theirs = LogisticRegression().fit(x, wanted).score(x, wanted)
    assert ours > theirs - 0.02
    second = ooc.open(tmp_path / "1.zarr", target="obs/kind")
    assert run.evaluate(second, memory="512MiB")["accuracy"] == pytest.approx(
        np.mean(run.predict(rows[1]) == names[1]), abs=1e-9
    )


def test_a_row_that_cannot_be_used_is_named_by_its_store(tmp_path: Path) -> None:
    several = write_several(tmp_path, RAGGED)
    zarr.open_group(several.paths[1])["X"][30, 2] = np.inf
    with pytest.raises(DataError, match=r"row 30 in .*2001\.zarr of X has inf in feature 2"):
        trainer().fit(several.open(), epochs=1)
    zarr.open_group(several.paths[1])["X"][30, 2] = 0
    zarr.open_group(several.paths[2])["y"][3] = np.nan
    with pytest.raises(DataError, match=r"row 3 in .*2002\.zarr of y has"):
        trainer().fit(several.open(), epochs=1)


@pytest.mark.slow
def test_the_shell_takes_several_stores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    several = write_several(tmp_path, RAGGED)
    monkeypatch.chdir(tmp_path)
    names = [Path(path).name for path in several.paths]
    assert called(capsys, "info", *names)["rows"] == len(several.X)
    how = ("--model", "linear", "--lr", "0.05", "--batch-size", "16", "--memory", "512MiB")
    told = called(capsys, "train", *names, *how, "--epochs", "2")
    again = called(capsys, "train", "20*.zarr", *how, "--epochs", "2", "--run", "again")
    assert told["run"] == "runs/2000" and again["rows"] == 2 * len(several.X)
    assert told["parameters_sha256"] == again["parameters_sha256"]
    assert called(capsys, "evaluate", "again", *names[:2])["rows"] == 84
    assert called(capsys, "predict", "again", *names[1:], "out.zarr")["rows"] == 31 + 77 + 1
    assert ooc.open(tmp_path / "out.zarr", features="prediction").rows == 109
    assert "are several stores; each is shuffled" in refused(
        capsys, "shuffle", "20*.zarr", "s.zarr"
    )
    assert "no path fits 19*.zarr" in refused(capsys, "info", "19*.zarr")
    Path("run.toml").write_text(
        f'data = ["{names[0]}", "{names[1]}"]\nmodel = "linear"\nbatch-size = 7\n'
    )
    assert (
        called(capsys, "train", "--config", "run.toml", "--run", "told", "--epochs", "1")["rows"]
        == 84
    )
