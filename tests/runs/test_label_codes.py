"""Which targets are labels, which codes they have, and what is said where they do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import write_dataset

import ooc
from ooc.core.errors import InputError
from ooc.models import Linear, Logistic, Softmax
from ooc.runs import classes
from ooc.runs.classes import (
    count_classes,
    first_targets,
    labelled_as,
    labels_of,
    names_in,
    with_classes,
)
from ooc.store.dataset import Dataset
from ooc.store.held import hold


def stored(path: Path, y: Any, chunk: int = 5, **attributes: Any) -> Dataset:
    """Write targets as zarr-python does, text among them."""
    values = np.array(y) if not isinstance(y, np.ndarray) else y
    if values.dtype.kind in "OU":
        values = values.astype(np.dtypes.StringDType())
    group = zarr.create_group(path, attributes=attributes)
    group.create_array("X", data=np.ones((len(values), 2), "f4"), chunks=(chunk, 2))
    shape, full = values.shape, {"write_empty_chunks": True}
    array = group.create_array("y", shape=shape, dtype=values.dtype, chunks=(chunk,), config=full)
    array[...] = values
    return ooc.open(path)


KINDS: dict[str, tuple[Any, tuple[Any, ...] | None, int]] = {
    "codes": ([0, 1, 2] * 5, None, 3),
    "codes of which the first chunk has some": ([0, 0, 0, 0, 0, 1, 2], None, 3),
    "one to three": ([3, 1, 2] * 5, (1, 2, 3), 3),
    "signs": ([-1, 1] * 5, (-1, 1), 2),
    "floats": ([1.0, 2.0, np.nan, 5.0], (1, 2, 5), 3),
    "codes with one that is missing": ([1.0, 0.0, np.nan, 2.0], None, 3),
    "text": (["b", "a", "c"] * 4, ("a", "b", "c"), 3),
    "booleans": ([True, False] * 4, (False, True), 2),
    "a zero that comes late": ([1, 2, 1, 2, 1, 0, 1], None, 3),
}


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("name", KINDS)
def test_labels_are_numbered_in_their_order(tmp_path: Path, name: str) -> None:
    y, names, count = KINDS[name]
    dataset = stored(tmp_path / "a.zarr", y)
    found = labels_of(dataset)
    assert (None if found is None else found.names) == names
    assert count_classes(dataset) == count
    model: Any = Logistic() if count == 2 else Softmax(classes=count)
    coded = with_classes(dataset, model)
    assert coded.class_names == (() if names is None else names)
    if names is not None:
        read = np.concatenate([batch["y"] for batch in ooc.Loader(
            coded, 4, memory="300MiB", shuffle="none", missing_values="keep"
        )])  # fmt: skip
        place = {each: number for number, each in enumerate(names)}
        expected = [place.get(each, np.nan) for each in np.array(y).tolist()]
        np.testing.assert_array_equal(read, expected)
        assert count_classes(coded) == count
        assert with_classes(coded, Linear()) is coded


def test_a_store_that_notes_its_classes_is_believed(tmp_path: Path) -> None:
    """Two at least; not a row is read."""
    for noted, count in ((7, 7), (1, 2)):
        dataset = stored(tmp_path / f"{noted}.zarr", [1, 2, 3], classes=noted)
        assert labels_of(dataset) is None and count_classes(dataset) == count
    assert count_classes(stored(tmp_path / "b.zarr", [0, 4], classes="many")) == 5
    assert count_classes(stored(tmp_path / "c.zarr", ["u", "v"], classes=9)) == 9
    text = labels_of(stored(tmp_path / "d.zarr", ["u", "v"], classes=9))
    assert text is not None and text.names == ("u", "v")


def test_only_the_rows_of_a_side_have_labels(tmp_path: Path) -> None:
    y = np.arange(1, 41)
    dataset = stored(tmp_path / "a.zarr", y)
    side = ooc.split(dataset, 0.5, seed=1)[0]
    assert side.selection is not None
    found, used = labels_of(side), y[side.selection.contains(0, 40, {})]
    assert found is not None and list(found.names) == used.tolist() != y.tolist()


@pytest.mark.parametrize(
    ("y", "told"),
    [
        ([0.0, 1.0, 0.5], "from row 0 on there is 0.5; write labels, or train a regression"),
        ([0.0] * 5 + [1.0] * 5 + [2.5], "from row 10 on there is 2.5; write labels, or train a "
         "regression"),
        ([0, -3, 2, 0, 1, -1], None),
        (list(range(12)), "there are more than 9 different ones; write labels, or train a "
         "regression"),
    ],
)  # fmt: skip
def test_numbers_that_are_no_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, y: list[float], told: str | None
) -> None:
    monkeypatch.setattr(classes, "MOST_NAMES", 9)
    monkeypatch.setattr("ooc.store.columns.PIECE_BYTES", 1)
    dataset = stored(tmp_path / "a.zarr", y)
    if told is None:
        assert count_classes(dataset) == 5
        return
    with pytest.raises(InputError) as error:
        count_classes(dataset)
    assert str(error.value) == f"targets y of {dataset.path} are no labels: {told}"
    assert with_classes(dataset, Softmax(classes=3)) is dataset


def test_as_many_labels_as_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "MOST_NAMES", 3)
    assert count_classes(stored(tmp_path / "a.zarr", ["a", "b", "c"])) == 3
    dataset = stored(tmp_path / "b.zarr", ["a", "b", "c", "d"])
    with pytest.raises(InputError) as error:
        labels_of(dataset)
    assert str(error.value) == (
        f"targets y of {dataset.path} are no labels: there are more than 3 different ones; name "
        "other targets"
    )


def test_what_does_not_fit_is_told_whole(tmp_path: Path) -> None:
    text = stored(tmp_path / "a.zarr", ["u", "v", "w"])
    one = stored(tmp_path / "b.zarr", [0, 0, 0])
    bare = write_dataset(tmp_path / "c.zarr", X=np.ones((5, 2)))
    numbers = stored(tmp_path / "d.zarr", [0, 1, 2])
    refusals: dict[str, Any] = {
        f"targets y of {text.path} have 3 labels, u, v, w, but logistic has 2 classes; train "
        "softmax, or an mlp with the multiclass head, of 3": lambda: with_classes(text, Logistic()),
        f"targets y of {text.path} are text, which is taken for labels, but linear predicts "
        "numbers; train a model that predicts labels, such as softmax, or name other "
        "targets": lambda: with_classes(text, Linear()),
        f"targets y of {one.path} have 1 class, and 2 are needed to learn": (
            lambda: count_classes(one)
        ),
        f"{bare.path} has no targets; name those to train on with target=": lambda: labels_of(bare),
        f"targets y of {numbers.path} are int64, but the classes that were learned are called u, "
        "v; name other targets": lambda: labelled_as(numbers, ("u", "v")),
    }
    for told, refused in refusals.items():
        with pytest.raises(InputError) as error:
            refused()
        assert str(error.value) == told


def test_numbers_of_another_count_are_left_to_the_model(tmp_path: Path) -> None:
    dataset = stored(tmp_path / "a.zarr", [1, 2, 5])
    assert with_classes(dataset, Logistic()) is dataset
    assert with_classes(dataset, Linear()) is dataset
    bare = write_dataset(tmp_path / "b.zarr", X=np.ones((5, 2)))
    held = hold({"X": np.ones((3, 2)), "y": np.array([1, 2, 3])})
    for each in (bare, held):
        assert with_classes(each, Softmax(classes=3)) is each
        assert labelled_as(each, (1, 2, 3)) is each
    assert labelled_as(dataset, ()) is dataset


def test_a_row_without_a_category_is_none_of_the_classes_that_a_store_lacks(tmp_path: Path) -> None:
    coded = stored(tmp_path / "a.zarr", [0, -1, 1])
    zarr.open_group(coded.path, mode="r+")["y"].attrs["categories"] = ["w", "u"]
    labels = labelled_as(ooc.open(coded.path), ("v", "u", "w", "x")).arrays["y"].labels
    assert labels is not None and labels.codes(np.array([0, -1, 1])).tolist() == [2, -1, 1]


def test_a_run_s_codes_hold_in_a_store_of_other_labels(tmp_path: Path) -> None:
    """A name that is new there has a code that no row has; numbers keep theirs."""
    text = labelled_as(stored(tmp_path / "a.zarr", ["w", "u", "w"]), ("u", "v", "w"))
    coded = stored(tmp_path / "d.zarr", [0, 1, 1])
    zarr.open_group(coded.path, mode="r+")["y"].attrs["categories"] = ["w", "u"]
    coded = labelled_as(ooc.open(coded.path), ("v", "x", "u", "w"))
    numbers = labelled_as(stored(tmp_path / "b.zarr", [5, 2, 2, 9]), (2, 5))
    flags = labelled_as(stored(tmp_path / "c.zarr", [True, False]), (False, True))
    for dataset, codes, names in (
        (text, [2, 0, 2], ("u", "v", "w")),
        (coded, [3, 2, 2], ("v", "x", "u", "w")),
        (numbers, [1, 0, 0, -1], (2, 5)),
        (flags, [1, 0], (False, True)),
    ):
        assert dataset.class_names == names
        labels: Any = dataset.arrays["y"].labels
        raw = zarr.open_group(dataset.path, mode="r")["y"][...]
        assert labels.codes(np.asarray(raw)).tolist() == codes


def test_names_of_a_description_are_names() -> None:
    assert names_in({"a": ["u", 1, 2.5, True]}, "a") == ("u", 1, 2.5, True)
    assert names_in({"b": ["u"]}, "a") == ()
    for wrong in ("u", [None], [["u"]], {"u": 1}):
        with pytest.raises(ValueError, match="a "):
            names_in({"a": wrong}, "a")


def test_first_targets_are_those_of_a_chunk_that_are_there(tmp_path: Path) -> None:
    dataset = stored(tmp_path / "a.zarr", [1.0, np.nan, 3.0, 4.0, 5.0, 6.0])
    assert first_targets(dataset).tolist() == [1, 3, 4, 5]
    few = stored(tmp_path / "b.zarr", [1, 2], chunk=9)
    assert first_targets(few).tolist() == [1, 2]
