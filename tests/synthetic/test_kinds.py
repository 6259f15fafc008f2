"""Generated data: the same bits for any number of threads, and a truth that is the optimum."""

import hashlib
import itertools
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import ooc
from ooc.cli import main
from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, generator
from ooc.models import from_config
from ooc.synthetic import KINDS, Kind, Recipe, make
from ooc.synthetic.kinds import GRID, NOISE

KIND_NAMES = sorted(KINDS)


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = b"".join(bytes(path.relative_to(folder)) + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    group = zarr.open_group(path, mode="r")
    return group["X"][...], group["y"][...]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "order"),
    [
        pytest.param(*pair, marks=[] if pair == ("softmax", "sorted") else pytest.mark.slow)
        for pair in itertools.product(KIND_NAMES, ("random", "sorted"))
    ],
)
def test_threads_do_not_change_the_bits(tmp_path: Path, kind: str, order: str) -> None:
    recipe = Recipe(kind, rows=270_000, features=130, order=order)
    digests = set()
    for threads in (1, 3):
        make(tmp_path / f"{threads}.zarr", recipe, threads)
        digests.add(digest(tmp_path / f"{threads}.zarr"))
    assert len(digests) == 1


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_seeds_and_held_out_rows_differ_and_the_truth_stays(tmp_path: Path, kind: str) -> None:
    recipes = {
        "a": Recipe(kind, 2000, 8),
        "b": Recipe(kind, 2000, 8, seed=1),
        "c": Recipe(kind, 2000, 8, held_out=True),
    }
    truths, rows = {}, {}
    for name, recipe in recipes.items():
        make(tmp_path / name, recipe)
        truths[name] = ooc.open(tmp_path / name).attributes["generator"]["truth"]
        rows[name] = {row.tobytes() for row in read(tmp_path / name)[0]}
    assert truths["a"] == truths["c"] != truths["b"]
    assert not rows["a"] & rows["c"]
    assert not rows["a"] & rows["b"]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("order", ["random", "sorted"])
@pytest.mark.parametrize("kind", KIND_NAMES)
def test_no_model_does_better_than_the_truth(tmp_path: Path, kind: str, order: str) -> None:
    """At the truth the loss is the noted one, and its gradient is noise of order 1/sqrt(N)."""
    rows = 60_000
    made = make(tmp_path / "a.zarr", Recipe(kind, rows, 12, order=order))
    dataset = ooc.open(tmp_path / "a.zarr")
    generated = dataset.attributes["generator"]
    model = from_config(generated["model"])
    layout = model.layout(dataset.row_shape)
    parameters = np.empty(layout.size)
    assert layout.shapes.keys() == generated["truth"].keys()
    for name, view in layout.views(parameters).items():
        view[...] = generated["truth"][name]
    [batch] = ooc.Loader(dataset, rows, memory="512MiB")
    gradient = np.empty(parameters.size)
    loss = model.loss_and_grad(parameters.astype(np.float32), batch, gradient)
    assert loss == pytest.approx(made["loss"], rel=1e-5)
    assert np.abs(gradient).max() < 6 / np.sqrt(rows)
    if made["accuracy"] is not None:
        measured = model.measure(parameters.astype(np.float32), batch)
        assert measured.correct / rows == pytest.approx(made["accuracy"], abs=1e-3)


def test_what_no_line_explains_is_the_noise(tmp_path: Path) -> None:
    made = make(tmp_path / "a.zarr", Recipe("linear", 60_000, 12))
    assert made["loss"] == pytest.approx(NOISE**2 / 2, rel=0.02)


@pytest.mark.slow
def test_data_are_made_without_a_compiler(tmp_path: Path) -> None:
    code = (
        "import sys, ooc\n"
        f"ooc.synthetic.make({str(tmp_path / 'a.zarr')!r}, ooc.synthetic.Recipe('softmax', 100))\n"
        "heavy = {'numba', 'dask', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Steps(Kind):
    """y is the row's number, x nothing but ones: a kind of one's own."""

    def model(self) -> dict[str, Any]:
        return {"name": "linear", "loss": "huber"}

    def draw(self, rng: np.random.Generator, first: int, rows: int) -> dict[str, np.ndarray]:
        x = np.ones((rows, self.recipe.features), np.float32)
        return {"X": x, "y": np.arange(first, first + rows, dtype=np.float32)}

    def best(self, columns: Mapping[str, np.ndarray]) -> tuple[float, float]:
        return float(columns["y"].sum()), np.nan

    def truth(self) -> dict[str, Any]:
        return {}


def test_a_kind_is_one_class_and_one_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No model is called like it; the shell knows it by the table alone."""
    monkeypatch.setitem(KINDS, "steps", Steps)
    path = tmp_path / "a.zarr"
    assert main(["make", "steps", str(path), "--rows", "3000", "--features", "2", "--json"]) == 0
    assert np.array_equal(read(path)[1], np.arange(3000))
    told = json.loads(capsys.readouterr().out)
    assert (told["loss"], told["accuracy"]) == (2999 / 2, None)
    assert main(["make", "--help"]) == 0
    assert "linear, logistic, softmax or steps" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_sorted_means_by_target(tmp_path: Path, kind: str) -> None:
    for order in ("random", "sorted"):
        make(tmp_path / order, Recipe(kind, 5000, 8, order=order))
    random, ordered = read(tmp_path / "random")[1], read(tmp_path / "sorted")[1]
    assert (np.diff(ordered) >= 0).all()
    assert not (np.diff(random) >= 0).all()
    assert ordered.mean() == pytest.approx(random.mean(), abs=5 * random.std() / np.sqrt(5000))
    assert ordered.std() == pytest.approx(random.std(), rel=0.06)


@pytest.mark.slow
def test_features_lie_on_the_grid_and_pack_to_half(tmp_path: Path) -> None:
    make(tmp_path / "a.zarr", Recipe("logistic", 40_000, 128))
    x, _ = read(tmp_path / "a.zarr")
    assert np.array_equal(x * GRID, np.rint(x * GRID))
    stored = sum(file.stat().st_size for file in (tmp_path / "a.zarr" / "X").rglob("*") if file)
    assert 1.8 < x.nbytes / stored < 2.6


def test_any_chunk_is_drawn_without_the_others(tmp_path: Path) -> None:
    recipe = Recipe("logistic", 5000, 128)
    make(tmp_path / "a.zarr", recipe)
    x, _ = read(tmp_path / "a.zarr")
    drawn = KINDS["logistic"](recipe).draw(generator(0, Purpose.DATA, index=2), 2048, 1024)
    assert np.array_equal(x[2048:3072], drawn["X"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "cubic"}, "choose one of: linear, logistic, softmax"),
        ({"order": "upwards"}, "order is one of random, sorted"),
        ({"features": 0}, "features must be a whole number of at least 1, not 0"),
        ({"kind": "softmax", "classes": 1}, "at least 2 classes"),
        ({"classes": 3}, "linear has no choice of classes; choose one of: softmax"),
    ],
)
def test_a_recipe_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(**{"kind": "linear", "rows": 10, **settings})  # type: ignore[arg-type]


def test_a_disk_too_small_is_refused_before_writing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"will take about .* TiB, but .* free"):
        make(tmp_path / "a.zarr", Recipe("logistic", 10**12, 128))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_rows_that_are_held_out_are_none_of_the_others(tmp_path: Path, kind: str) -> None:
    rows = []
    for held in (False, True):
        make(tmp_path / f"{held}.zarr", Recipe(kind, 500, 6, held_out=held))
        rows.append(read(tmp_path / f"{held}.zarr")[0])
    assert not (rows[0] == rows[1]).all(axis=1).any()
