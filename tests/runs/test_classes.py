"""Labels of any type: what trains on them trains as on their codes, and gives them back."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import foreign
from shell import called, refused

import ooc
from ooc.cli import main
from ooc.core.errors import DataError, InputError
from ooc.estimators import OOCClassifier
from ooc.models import MLP, Linear, Logistic, Model, Softmax
from ooc.runs.loading import load

ROWS, MEMORY = 600, "512MiB"
CODES = np.random.default_rng(1).integers(0, 3, ROWS)
X = np.random.default_rng(0).standard_normal((ROWS, 4)).astype(np.float32) + CODES[:, None]
CITIES = ("Oslo", "Rome", "Łódź")


def store(path: Path, y: np.ndarray, zarr_format: int = 3, x: np.ndarray = X) -> Path:
    """Write rows and targets as zarr-python does."""
    chunked = {"X": {"data": x, "chunks": (50, 4)}, "y": {"data": y, "chunks": (50,)}}
    if y.dtype == object:
        chunked["y"]["data"] = y.astype(np.dtypes.StringDType())
    return foreign(path, zarr_format, **chunked)


def categories(path: Path, names: tuple[Any, ...], codes: np.ndarray) -> Path:
    """Write a categorical column as AnnData lays it out, in a table of columns."""
    group = zarr.open_group(foreign(path, 3, X={"data": X, "chunks": (50, 4)}), mode="r+")
    table = group.create_group("obs", attributes={"encoding-type": "dataframe"})
    column = table.create_group("city", attributes={"encoding-type": "categorical"})
    column.create_array("codes", data=codes.astype(np.int8), chunks=(50,))
    column.create_array("categories", data=np.array(names, np.dtypes.StringDType()))
    return path


def trained(path: Path, model: Model, **roles: Any) -> Any:
    trainer = ooc.Trainer(model, ooc.optim.sgd(0.1), batch_size=60, memory=MEMORY)
    return trainer.fit(ooc.open(path, **roles), epochs=2, report=False)


TEXT = np.array(CITIES, object)[CODES]
BINARY = CODES % 2
KINDS: dict[str, tuple[Model, np.ndarray, tuple[Any, ...], np.ndarray]] = {
    "text": (Softmax(classes=3), TEXT, CITIES, CODES),
    "text of fixed width": (Softmax(classes=3), TEXT.astype("U8"), CITIES, CODES),
    "1 to K": (Softmax(classes=3), CODES + 1, (1, 2, 3), CODES),
    "as floats": (Softmax(classes=3), CODES + 1.0, (1, 2, 3), CODES),
    "-1 and 1": (Logistic(), BINARY * 2 - 1, (-1, 1), BINARY),
    "booleans": (Logistic(), BINARY == 1, (False, True), BINARY),
    "two texts": (Logistic(), np.array(["no", "yes"], object)[BINARY], ("no", "yes"), BINARY),
}


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_labels_train_as_their_codes_do(kind: str, zarr_format: int, tmp_path: Path) -> None:
    model, labels, names, codes = KINDS[kind]
    run = trained(store(tmp_path / "labels", labels, zarr_format), model)
    plain = trained(store(tmp_path / "codes", codes), model)
    np.testing.assert_array_equal(run.parameters, plain.parameters)
    assert run.class_names == names and plain.class_names == ()
    assert run.results["class_names"] == list(names)
    for rows in (X, ooc.open(tmp_path / "labels")):
        found = run.predict(rows)
        assert found.tolist() == [names[code] for code in plain.predict(X).tolist()]
    measured = run.evaluate(ooc.open(tmp_path / "labels"))
    assert measured["accuracy"] == pytest.approx(np.mean(plain.predict(X) == codes))


def test_categories_of_a_store_are_the_names(tmp_path: Path) -> None:
    path = categories(tmp_path / "a", CITIES, CODES)
    plain = trained(store(tmp_path / "codes", CODES), Softmax(classes=3))
    for target in ("obs/city", "obs/city/codes"):
        run = trained(path, Softmax(classes=3), target=target)
        np.testing.assert_array_equal(run.parameters, plain.parameters)
        assert run.class_names == CITIES


def ordered(path: Path, is_ordered: Any) -> Path:
    """Write categories, and say whether they have an order."""
    group = zarr.open_group(categories(path, ("low", "middle", "high"), CODES), mode="r+")
    group["obs/city"].attrs["ordered"] = is_ordered
    return path


@pytest.mark.slow
def test_an_ordinal_head_takes_the_order_that_a_store_tells(tmp_path: Path) -> None:
    """Numbers have theirs."""
    model = MLP((4,), head="ordinal", outputs=3)
    run = trained(ordered(tmp_path / "a", True), model, target="obs/city")
    plain = trained(store(tmp_path / "codes", CODES), model)
    shifted = trained(store(tmp_path / "shifted", CODES + 1), model)
    assert run.class_names == ("low", "middle", "high")
    assert shifted.class_names == (1, 2, 3)
    for each in (run, shifted):
        np.testing.assert_array_equal(each.parameters, plain.parameters)
    for output in ("prediction", "median"):
        codes = plain.predict(X, output=output)
        assert run.predict(X, output=output).tolist() == [run.class_names[c] for c in codes]
    data = ooc.open(tmp_path / "a", target="obs/city")
    assert run.evaluate(data)["quadratic_weighted_kappa"] > 0.3


def test_of_an_order_that_nothing_tells_none_is_made_up(tmp_path: Path) -> None:
    model = MLP((4,), head="ordinal", outputs=3)
    for path, roles in (
        (store(tmp_path / "text", TEXT), {}),
        (ordered(tmp_path / "categories", False), {"target": "obs/city"}),
    ):
        with pytest.raises(InputError, match=r"nothing says in which order.*store 0 to 2 in their"):
            trained(path, model, **roles)
        with pytest.raises(InputError, match="nothing says in which order"):
            OOCClassifier(model).fit(ooc.open(path, **roles))
    with pytest.raises(InputError, match=r"labels are 'Oslo' and others.*give 0 to 2 in their"):
        OOCClassifier(model).fit(X, TEXT)
    noted = store(tmp_path / "noted", CODES)
    zarr.open_group(noted, mode="r+")["y"].attrs.update(categories=["c", "b", "a"], ordered=True)
    assert trained(noted, model).class_names == ("c", "b", "a")


@pytest.mark.slow
def test_another_store_may_have_them_in_another_order(tmp_path: Path) -> None:
    run = trained(categories(tmp_path / "a", CITIES, CODES), Softmax(classes=3), target="obs/city")
    other = categories(tmp_path / "b", (*CITIES[::-1], "Bern"), 2 - CODES)
    ours, theirs = (
        run.evaluate(ooc.open(path, target="obs/city")) for path in (tmp_path / "a", other)
    )
    assert ours["confusion_matrix"] == theirs["confusion_matrix"]
    as_text = run.evaluate(ooc.open(store(tmp_path / "c", TEXT)))
    assert as_text["confusion_matrix"] == ours["confusion_matrix"]


def test_a_label_that_nobody_learned_is_named_with_its_row(tmp_path: Path) -> None:
    run = trained(store(tmp_path / "a", TEXT), Softmax(classes=3))
    strange = TEXT.copy()
    strange[123] = "Bern"
    unknown = r"row 123 of y .* has the label Bern, .* none of the 3: Oslo"
    with pytest.raises(DataError, match=unknown):
        run.evaluate(ooc.open(store(tmp_path / "b", strange)))
    with pytest.raises(InputError, match=r"targets y .* are int64, but .* Oslo, Rome"):
        run.evaluate(ooc.open(store(tmp_path / "c", CODES)))


def test_labels_of_another_count_are_refused(tmp_path: Path) -> None:
    path = store(tmp_path / "a", TEXT)
    with pytest.raises(InputError, match="have 3 labels, Oslo, Rome, Łódź, but logistic has 2"):
        trained(path, Logistic())
    with pytest.raises(InputError, match=r"y of .* are text, .*, but linear predicts numbers"):
        trained(path, Linear())
    with pytest.raises(DataError, match=r"row \d+ of y has target \d"):
        trained(store(tmp_path / "b", CODES * 2), Softmax(classes=4))


@pytest.mark.slow
def test_a_run_goes_on_with_its_labels(tmp_path: Path) -> None:
    path = store(tmp_path / "a", TEXT)
    model, optimizer = MLP(hidden=(4,), head="multiclass", outputs=3), ooc.optim.adam(0.01)
    trainer = ooc.Trainer(
        model, optimizer, batch_size=60, memory=MEMORY, validation=ooc.Validation(0.2)
    )
    whole = trainer.fit(ooc.open(path), epochs=3, report=False)
    stop = threading.Event()
    stopping = ooc.Callbacks(step_end=lambda now: stop.set() if now.step == 11 else None)
    trainer.fit(ooc.open(path), 3, tmp_path / "run", False, stop, callbacks=stopping)
    rest = trainer.resume(ooc.open(path), tmp_path / "run", report=False)
    np.testing.assert_array_equal(rest.parameters, whole.parameters)
    assert load(tmp_path / "run").class_names == rest.class_names == CITIES


@pytest.mark.slow
def test_the_shell_finds_the_classes_and_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    store(tmp_path / "a.zarr", TEXT)
    options = ["--memory", MEMORY, "--lr", "0.1", "--batch-size", "60"]
    assert main(["train", "a.zarr", "--model", "softmax", *options, "--run", "runs/a"]) == 0
    assert "classes: 3, by the targets y" in capsys.readouterr().err
    assert main(["evaluate", "runs/a", "a.zarr", "--memory", MEMORY]) == 0
    assert "true Rome" in capsys.readouterr().out
    called(capsys, "predict", "runs/a", "a.zarr", "out.zarr", "--memory", MEMORY)
    written = zarr.open_group("out.zarr", mode="r")
    assert written.attrs["class_names"] == list(CITIES)
    names = np.array(CITIES)[written["prediction"][...]]
    assert names.tolist() == load("runs/a").predict(X).tolist()
    network = ["--model", "mlp", "--hidden", "4"]
    called(capsys, "train", "a.zarr", *network, *options, "--run", "runs/b")
    model = json.loads(Path("runs/b/run.json").read_text())["model"]
    assert (model["head"], model["outputs"]) == ("multiclass", 3)
    assert main(["info", "a.zarr"]) == 0
    assert "text (600,), labels" in capsys.readouterr().out
    assert "are text" in refused(
        capsys, "train", "a.zarr", "--model", "linear", "--run", "c", *options
    )


@pytest.mark.slow
def test_estimators_give_labels_back(tmp_path: Path) -> None:
    path = store(tmp_path / "a", TEXT)
    found = ooc.OOCClassifier(lr=0.1).fit(path)
    assert found.classes_.tolist() == list(CITIES)
    assert set(found.predict(path)) <= set(CITIES)
    assert found.predict(X).tolist() == found.predict(path).tolist()
    assert found.score(path) == pytest.approx(np.mean(found.predict(X) == TEXT))
    some = ooc.OOCClassifier(lr=0.1).partial_fit(path).partial_fit(path)
    assert some.predict(X).dtype.kind == "U" and some.score(path) > 0.5


@pytest.mark.slow
def test_rows_of_another_store_validate(tmp_path: Path) -> None:
    path = categories(tmp_path / "a", CITIES, CODES)
    other = categories(tmp_path / "b", CITIES[::-1], 2 - CODES)
    losses = []
    for data in (path, other):
        held_out = ooc.Validation(ooc.open(data, target="obs/city"))
        trainer = ooc.Trainer(
            Softmax(classes=3), ooc.optim.sgd(0.1), 60, memory=MEMORY, validation=held_out
        )
        run = trainer.fit(ooc.open(path, target="obs/city"), report=False)
        losses.append(run.results["validation"]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_a_damaged_chunk_of_labels_is_left_out(tmp_path: Path) -> None:
    runs = []
    for name, labels in {"a": TEXT, "b": CODES + 1, "c": CODES}.items():
        path = store(tmp_path / name, labels)
        (path / "y" / "c" / "3").write_bytes(b"damaged")
        model, optimizer = Softmax(classes=3), ooc.optim.sgd(0.1)
        trainer = ooc.Trainer(model, optimizer, 50, memory=MEMORY, on_bad_chunk="skip")
        runs.append(trainer.fit(ooc.open(path), epochs=1, report=False))
        assert runs[-1].results["skipped_rows"] == 50
        np.testing.assert_array_equal(runs[-1].parameters, runs[0].parameters)
