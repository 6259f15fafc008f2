"""A dataset is filled chunk by chunk, each drawn by its number; disks that are too small refuse."""

from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.testing import assert_allclose, assert_array_equal

import ooc
from ooc.core.errors import InputError
from ooc.core.progress import Progress
from ooc.core.random_keys import Purpose, generator
from ooc.store.compression import COMPRESSIONS
from ooc.store.destinations import LocalDestination
from ooc.store.fields import Field, encode_chunk
from ooc.store.writer import create
from ooc.synthetic import KINDS, Recipe, check_free_space, fill, make
from ooc.synthetic.kinds import GRID, NOISE, SEPARATION

FIELDS = {"X": ("float32", (3,)), "y": ("int64", ())}


def drawn(number: int, first: int, rows: int) -> dict[str, np.ndarray]:
    y = np.arange(first, first + rows)
    return {"X": np.full((rows, 3), number, np.float32), "y": y}


@pytest.mark.parametrize("rows", [1, 9, 10, 11, 40, 95])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_row_is_drawn_with_the_number_of_its_chunk(
    tmp_path: Path, rows: int, threads: int
) -> None:
    asked, told = list[tuple[int, int, int]](), list[Progress]()

    def draw(*what: int) -> dict[str, np.ndarray]:
        asked.append(what)  # type: ignore[arg-type]
        return drawn(*what)

    # Chunks of 10 rows, shards of 40.
    with create(tmp_path / "a", FIELDS, chunk_bytes=120, shard_bytes=480) as writer:
        fill(writer, rows, draw, threads, told.append)
    group = zarr.open_group(tmp_path / "a", mode="r")
    assert_array_equal(group["y"][:], np.arange(rows))
    assert_array_equal(group["X"][:, 1], np.arange(rows) // 10)
    chunks = [(i, 10 * i, min(10, rows - 10 * i)) for i in range(-(-rows // 10))]
    # The first one twice: by it the space is judged.
    assert asked[0] == chunks[0] and sorted(asked[1:]) == chunks
    assert {each.total_rows for each in told} == {rows}
    assert all(each.bytes == 20 * each.rows and each.seconds >= 0 for each in told)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_disk_is_judged_by_what_a_sample_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, compression: str
) -> None:
    sample = {"X": rng.standard_normal((50, 3)).astype(np.float32), "y": np.arange(50)}
    stored = sum(len(encode_chunk(values, compression)) for values in sample.values())
    needed = int(1.02 * stored * 5000 / 50) + 2**20
    free = [needed]

    def usage(path: Path) -> Any:
        assert path == tmp_path
        return SimpleNamespace(free=free[0])

    monkeypatch.setattr("shutil.disk_usage", usage)
    fields = {name: Field(each.dtype, compression=compression) for name, each in sample.items()}
    place = LocalDestination(tmp_path / "a")
    writer: Any = SimpleNamespace(path=tmp_path / "a", destination=place, fields=fields)
    check_free_space(writer, sample, 50, 5000)
    free[0] -= 1
    with pytest.raises(InputError) as caught:
        check_free_space(writer, sample, 50, 5000)
    assert str(caught.value).startswith(f"{tmp_path}/a will take about 1.")
    assert f", but {tmp_path} has 1." in str(caught.value)
    assert str(caught.value).endswith(" free; make fewer rows or choose another disk")


def test_the_truth_is_of_the_size_that_is_told() -> None:
    linear = KINDS["linear"](Recipe("linear", 10, 40, seed=3)).truth()
    assert np.linalg.norm(linear["coefficients"]) == pytest.approx(1, rel=1e-5)
    assert linear["intercept"] == [0.5]
    softmax = KINDS["softmax"](Recipe("softmax", 10, 40, classes=6)).truth()
    means = np.array(softmax["coefficients"])
    assert_allclose(np.linalg.norm(means, axis=1), SEPARATION / np.sqrt(2), rtol=1e-5)
    assert_allclose(softmax["intercept"], -0.5 * (means**2).sum(axis=1), rtol=1e-5)
    # Two classes at a half and at three halves of half the distance, on either side of the origin.
    logistic = KINDS["logistic"](Recipe("logistic", 10, 40)).truth()
    assert np.linalg.norm(logistic["coefficients"]) == pytest.approx(SEPARATION, rel=1e-5)
    half = SEPARATION / 2
    expected = -0.5 * (1.5 * half) ** 2 + 0.5 * (0.5 * half) ** 2
    assert logistic["intercept"] == [pytest.approx(expected, rel=1e-5)]


def test_the_best_predictions_are_the_posteriors(rng: np.random.Generator) -> None:
    kind = KINDS["softmax"](Recipe("softmax", 100, 5, classes=4))
    columns = kind.draw(rng, 0, 100)
    truth = kind.truth()
    scores = columns["X"] @ np.array(truth["coefficients"]).T + truth["intercept"]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss, correct = kind.best(columns)
    assert loss == pytest.approx(-np.log(shares[np.arange(100), columns["y"]]).sum(), rel=1e-5)
    assert correct == (shares.argmax(axis=1) == columns["y"]).sum()
    linear = KINDS["linear"](Recipe("linear", 100, 5))
    columns = linear.draw(rng, 0, 100)
    told = linear.truth()
    errors = columns["X"] @ np.array(told["coefficients"])[0] + told["intercept"][0] - columns["y"]
    loss, correct = linear.best(columns)
    assert loss == pytest.approx(0.5 * (errors**2).sum(), rel=1e-4) and np.isnan(correct)
    assert np.std(errors) == pytest.approx(NOISE, rel=0.3)


def test_sorted_rows_have_their_share_of_the_targets(rng: np.random.Generator) -> None:
    recipe = Recipe("softmax", 100, 5, classes=4, order="sorted")
    y = KINDS["softmax"](recipe).draw(rng, 20, 60)["y"]
    assert_array_equal(y, np.arange(20, 80) // 25)
    linear = KINDS["linear"](Recipe("linear", 1000, 5, order="sorted"))
    y = linear.draw(rng, 300, 200)["y"]
    spread = NormalDist(0.5, (1 + NOISE**2) ** 0.5)
    ends = spread.inv_cdf(0.3), spread.inv_cdf(0.5)
    assert ends[0] <= y.min() < y.max() <= ends[1] and (np.diff(y) >= 0).all()


def test_what_is_noted_is_the_recipe_and_its_truth(tmp_path: Path) -> None:
    recipe = Recipe("softmax", 300, 4, classes=3, seed=7, held_out=True)
    made = make(tmp_path / "a", recipe)
    attributes = ooc.open(tmp_path / "a").attributes
    assert attributes["classes"] == 3
    generated = attributes["generator"]
    assert generated["best"] == {"loss": made["loss"], "accuracy": made["accuracy"]}
    assert {name: generated[name] for name in vars(recipe)} == vars(recipe)
    assert generated["model"] == {"name": "softmax", "classes": 3}
    assert made["rows"] == 300 and made["seconds"] > 0
    kind = KINDS["softmax"](recipe)
    columns = kind.draw(generator(7, Purpose.HELD_OUT_DATA, index=0), 0, 300)
    assert_array_equal(zarr.open_group(tmp_path / "a", mode="r")["X"][:], columns["X"])
    loss, correct = kind.best(columns)
    assert (made["loss"], made["accuracy"]) == pytest.approx((loss / 300, correct / 300))
    assert_array_equal(columns["X"] * GRID, np.rint(columns["X"] * GRID))
    make(tmp_path / "b", Recipe("linear", 10, 2))
    noted = ooc.open(tmp_path / "b").attributes
    assert "classes" not in noted and noted["generator"]["best"]["accuracy"] is None


def test_usual_settings_and_what_is_refused() -> None:
    assert (Recipe("softmax", 1).classes, Recipe("logistic", 1).classes) == (10, None)
    usual = Recipe("linear", 1)
    assert (usual.features, usual.order, usual.seed, usual.held_out) == (128, "random", 0, False)
    assert Recipe("softmax", 1, classes=2).classes == 2
    for settings, message in (
        ({"kind": "softmax", "classes": 1}, "softmax needs at least 2 classes, not 1"),
        ({"order": "up"}, "order is one of random, sorted, not 'up'"),
        ({"rows": 0}, "rows must be a whole number of at least 1, not 0"),
        ({"kind": "logistic", "classes": 2},
         "logistic has no choice of classes; choose one of: softmax"),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            Recipe(**{"kind": "linear", "rows": 10, **settings})  # type: ignore[arg-type]
        assert str(caught.value).startswith(message)
