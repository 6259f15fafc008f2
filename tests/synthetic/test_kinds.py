"""Generated data: the same bits for any number of threads, and a truth that is the optimum."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import zarr

import ooc
from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, generator
from ooc.models import MODELS
from ooc.synthetic import kinds as synthetic
from ooc.synthetic.kinds import KINDS, Recipe, make

KIND_NAMES = sorted(KINDS)


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = b"".join(bytes(path.relative_to(folder)) + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    group = zarr.open_group(path, mode="r")
    return group["X"][...], group["y"][...]


@pytest.mark.parametrize("order", ["random", "sorted"])
@pytest.mark.parametrize("kind", KIND_NAMES)
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


@pytest.mark.parametrize("order", ["random", "sorted"])
@pytest.mark.parametrize("kind", KIND_NAMES)
def test_no_model_does_better_than_the_truth(tmp_path: Path, kind: str, order: str) -> None:
    """At the truth the loss is the noted one, and its gradient is noise of order 1/sqrt(N)."""
    rows = 60_000
    made = make(tmp_path / "a.zarr", Recipe(kind, rows, 12, classes=4, order=order))
    dataset = ooc.open(tmp_path / "a.zarr")
    truth = dataset.attributes["generator"]["truth"]
    parameters = np.concatenate([np.ravel(truth["coefficients"]), truth["intercept"]])
    model = MODELS[kind](**({"classes": 4} if kind == "softmax" else {}))
    [batch] = ooc.Loader(dataset, rows, memory="512MiB")
    gradient = np.empty(parameters.size)
    loss = model.loss_and_grad(parameters.astype(np.float32), batch, gradient)
    assert loss == pytest.approx(made["loss"], rel=1e-5)
    assert np.abs(gradient).max() < 6 / np.sqrt(rows)
    if kind != "linear":
        measured = model.measure(parameters.astype(np.float32), batch)
        assert measured.correct / rows == pytest.approx(made["accuracy"], abs=1e-3)
    else:
        assert made["loss"] == pytest.approx(synthetic.NOISE**2 / 2, rel=0.02)


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_sorted_means_by_target(tmp_path: Path, kind: str) -> None:
    for order in ("random", "sorted"):
        make(tmp_path / order, Recipe(kind, 5000, 8, order=order))
    random, ordered = read(tmp_path / "random")[1], read(tmp_path / "sorted")[1]
    assert (np.diff(ordered) >= 0).all()
    assert not (np.diff(random) >= 0).all()
    assert ordered.mean() == pytest.approx(random.mean(), abs=5 * random.std() / np.sqrt(5000))
    assert ordered.std() == pytest.approx(random.std(), rel=0.06)


def test_features_lie_on_the_grid_and_pack_to_half(tmp_path: Path) -> None:
    make(tmp_path / "a.zarr", Recipe("logistic", 40_000, 128))
    x, _ = read(tmp_path / "a.zarr")
    assert np.array_equal(x * synthetic.GRID, np.rint(x * synthetic.GRID))
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
        ({"features": 0}, "must be positive"),
        ({"kind": "softmax", "classes": 1}, "at least 2 classes"),
    ],
)
def test_a_recipe_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(**{"kind": "linear", "rows": 10, **settings})  # type: ignore[arg-type]


def test_a_disk_too_small_is_refused_before_writing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"will take about .* TiB, but .* free"):
        make(tmp_path / "a.zarr", Recipe("logistic", 10**12, 128))
    assert list(tmp_path.iterdir()) == []
