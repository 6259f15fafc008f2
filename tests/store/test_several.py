"""Several stores opened as one dataset: what it is, what is read, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import foreign, write_dataset
from several import ALIKE, RAGGED, Several, write_several

import ooc
from ooc.core.errors import InputError
from ooc.shuffle.external_sort import exact
from ooc.store.chunks import BadChunkError, open_reader
from ooc.store.dataset import Dataset
from ooc.store.feature_names import feature_names_of
from ooc.store.fingerprint import fingerprint
from ooc.store.names_in_store import deciding, names_in_store


def all_of(dataset: Dataset, name: str) -> np.ndarray:
    """Return the rows of every store, one after the other."""
    spec = dataset.arrays[name]
    out = np.full(spec.shape, 7).astype(spec.dtype)
    open_reader(dataset, name).read_runs([(0, spec.shape[0])], out)
    return out if dataset.stores is None else out[dataset.stores.holds(0, len(out))]


@pytest.fixture(params=[ALIKE, RAGGED], ids=["alike", "ragged"])
def several(request: pytest.FixtureRequest, tmp_path: Path) -> Several:
    return write_several(tmp_path, request.param)


def test_rows_are_those_of_all_stores(several: Several) -> None:
    dataset = several.open()
    assert (dataset.rows, dataset.row_shape) == (len(several.X), (3,))
    np.testing.assert_array_equal(all_of(dataset, "X"), several.X)
    np.testing.assert_array_equal(all_of(dataset, "y"), several.y)
    assert f"rows={len(several.X):,}" in repr(dataset).replace("rows ", "rows=")


def test_any_runs_of_rows_are_read(several: Several, rng: np.random.Generator) -> None:
    dataset = several.open()
    spec, reader = dataset.arrays["X"], open_reader(dataset, "X")
    whole = np.zeros(spec.shape, spec.dtype)
    assert dataset.stores is not None
    whole[dataset.stores.holds(0, len(whole))] = several.X
    for _ in range(40):
        places = np.sort(rng.choice(len(whole) + 1, 6, replace=False)).reshape(3, 2)
        runs = [tuple(run) for run in places.tolist()]
        out = np.full((sum(b - a for a, b in runs), 3), np.nan, np.float32)
        reader.read_runs(runs, out)
        np.testing.assert_array_equal(out, np.concatenate([whole[a:b] for a, b in runs]))


def test_a_pattern_names_stores_in_the_order_of_their_names(several: Several) -> None:
    folder = Path(several.paths[0]).parent
    found = ooc.open(f"{folder}/20*.zarr")
    assert found.stores is not None
    assert list(found.stores.paths) == several.paths
    np.testing.assert_array_equal(all_of(found, "X"), several.X)
    assert ooc.open([several.paths[0]]).stores is None
    assert ooc.open([Path(path) for path in several.paths]).rows == found.rows


def test_a_pattern_may_be_of_urls(rng: np.random.Generator) -> None:
    x = rng.standard_normal((5, 2))
    for number in (2, 1):
        group = zarr.create_group(f"memory://several/part-{number}.zarr")
        group.create_array("X", data=x + number)
    zarr.create_group("memory://several/other.zarr").create_array("X", data=x)
    dataset = ooc.open("memory://several/part-*.zarr")
    np.testing.assert_array_equal(all_of(dataset, "X"), np.concatenate([x + 1, x + 2]))
    with pytest.raises(InputError, match="no path fits memory://several/none"):
        ooc.open("memory://several/none-*.zarr")
    with pytest.raises(InputError, match="has a pattern before its last part"):
        ooc.open("memory://sev*/part.zarr")


def test_a_path_with_the_signs_of_a_pattern_is_a_path(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a[1].zarr", X=np.ones((20, 2), np.float32))
    assert ooc.open(tmp_path / "a[1].zarr").rows == 20


def test_values_are_decoded_as_each_store_declares(tmp_path: Path) -> None:
    """Packed into other integers, with other scales and marks for missing."""
    packed = {"data": np.array([[1], [-9]], np.int16), "attributes": {"scale_factor": 0.5}}
    packed["attributes"] |= {"missing_value": -9}
    foreign(tmp_path / "a.zarr", 3, X=packed)
    foreign(tmp_path / "b.zarr", 3, X={"data": np.array([[4.25], [1.0]])})
    dataset = ooc.open(str(tmp_path / "*.zarr"))
    assert (dataset.arrays["X"].dtype, dataset.arrays["X"].declares_missing) == (np.float64, True)
    np.testing.assert_array_equal(all_of(dataset, "X")[:, 0], [0.5, np.nan, 4.25, 1.0])


def test_types_that_no_type_holds_are_refused(tmp_path: Path) -> None:
    foreign(tmp_path / "a.zarr", 3, X={"data": np.ones((2, 1))}, y={"data": np.array(["a", "b"])})
    foreign(tmp_path / "b.zarr", 3, X={"data": np.ones((2, 1))}, y={"data": np.arange(2)})
    both = [str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")]
    assert "not a real number" in ooc.open(both, target=False).unused["y"]
    with pytest.raises(InputError, match=r"array y is text in .*a.zarr and int64 in .*b.zarr"):
        ooc.open(both)


def test_stores_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    x = np.ones((20, 2), np.float32)
    write_dataset(tmp_path / "a.zarr", X=x, y=x[:, 0], z=x[:, 1])
    write_dataset(tmp_path / "b.zarr", X=x, z=x[:, 1])
    write_dataset(tmp_path / "c.zarr", X=np.ones((20, 3), np.float32), y=x[:, 0])
    a, b, c = (str(tmp_path / f"{name}.zarr") for name in "abc")
    with pytest.raises(
        InputError, match=r"a.zarr has y for its target, and .*b.zarr has no target"
    ):
        ooc.open([a, b])
    dataset = ooc.open([a, b], target="z")
    assert (dataset.target, dataset.unused) == ("z", {"y": f"it is not in {b}"})
    with pytest.raises(InputError, match=r"rows of shape \(2,\) in .*a.zarr, and of shape \(3,\)"):
        ooc.open([a, c])
    with pytest.raises(InputError, match=r"a.zarr is named twice, and its rows would count twice"):
        ooc.open([a, f"{tmp_path}/./a.zarr"])
    with pytest.raises(InputError, match=r"no path fits .*none-\*.zarr; check it"):
        ooc.open(str(tmp_path / "none-*.zarr"))
    with pytest.raises(InputError, match="an object of list cannot be opened"):
        ooc.open([])


@pytest.mark.slow
def test_labels_are_what_each_store_calls_them(tmp_path: Path) -> None:
    """Of AnnData's categories, whose codes differ from file to file."""
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    kinds = [["b", "a", "b", "a"], ["c", "b", "c"]]
    for number, each in enumerate(kinds):
        table = pandas.DataFrame(
            {"kind": pandas.Categorical(each)}, [str(k) for k in range(len(each))]
        )
        cells = anndata.AnnData(np.ones((len(each), 2), np.float32), obs=table)
        cells.write_zarr(tmp_path / f"{number}.zarr")
    paths = str(tmp_path / "*.zarr")
    dataset, name = deciding(ooc.open(paths), "obs/kind")
    labels = names_in_store(dataset, dataset.arrays[name])
    assert labels is not None and labels.names == ("a", "b", "c")
    assert [labels.names[code] for code in all_of(dataset, name)] == [*kinds[0], *kinds[1]]
    train, chosen = ooc.split(ooc.open(paths), by="obs/kind", groups=["b"])
    assert (train.rows, chosen.rows) == (4, 3)
    np.testing.assert_array_equal(np.flatnonzero(np.isin(np.concatenate(kinds), ["b"])), [0, 2, 5])


def test_features_in_another_order_are_refused(tmp_path: Path) -> None:
    for name, columns in (("a", ["u", "v"]), ("b", ["v", "u"]), ("c", ["u", "v"])):
        x = {"data": np.ones((2, 2)), "attributes": {"feature_names": columns}}
        foreign(tmp_path / f"{name}.zarr", 3, X=x)
    a, b, c = (str(tmp_path / f"{name}.zarr") for name in "abc")
    assert feature_names_of(ooc.open([a, c])) == ("u", "v")
    with pytest.raises(InputError, match=r"feature 0 is u in .*a.zarr and v in .*b.zarr"):
        feature_names_of(ooc.open([a, b]))


def test_a_chunk_that_cannot_be_read_is_named_by_its_store(tmp_path: Path) -> None:
    several = write_several(tmp_path, RAGGED)
    dataset = several.open()
    (Path(several.paths[2]) / "X" / "c" / "1" / "0").write_bytes(b"no chunk")
    out = np.zeros(dataset.arrays["X"].shape, np.float32)
    reader, bad = open_reader(dataset, "X"), list[BadChunkError]()
    with pytest.raises(
        BadChunkError, match=r"chunk 1\.0 of array X in .*2002\.zarr, rows 10 to 19,"
    ):
        reader.read_runs([(0, len(out))], out)
    reader.read_runs([(0, 30), (30, len(out))], out, bad)
    assert dataset.stores is not None
    first = dataset.stores.starts[2] + 10
    assert [(each.rows, each.run) for each in bad] == [((first, first + 9), 1)]


def test_a_fingerprint_tells_which_store_was_written(tmp_path: Path) -> None:
    several = write_several(tmp_path, ALIKE)
    before = fingerprint(several.open(), ["X", "y"])
    assert set(before["files"]) == {f"store {k}: {name}" for k in range(3) for name in "Xy"}
    zarr.open_array(f"{several.paths[1]}/y")[3] = 99.0
    after = fingerprint(several.open(), ["X", "y"])
    changed = {name for name, found in after["files"].items() if found != before["files"][name]}
    assert changed == {"store 1: y"}
    assert before["rows"] == after["rows"] == 180


def test_what_deals_with_one_store_says_so(tmp_path: Path) -> None:
    dataset = write_several(tmp_path, ALIKE).open()
    with pytest.raises(InputError, match="are several stores; each is shuffled by itself"):
        exact(dataset, tmp_path / "shuffled.zarr")
    assert not (tmp_path / "shuffled.zarr").exists()


def test_features_of_several_arrays_are_those_of_each_store(tmp_path: Path) -> None:
    """Columns are found by their names, wherever a store has them."""
    rng = np.random.default_rng(1)
    tables = []
    for name, columns in (("a", ["u", "v", "w"]), ("b", ["w", "u", "v"])):
        values = rng.standard_normal((30, 3)).astype(np.float32)
        level = rng.standard_normal(30).astype(np.float32)
        x = {"data": values, "chunks": (10, 2), "attributes": {"feature_names": columns}}
        foreign(tmp_path / f"{name}.zarr", 3, X=x, level={"data": level, "chunks": (7,)})
        by_name = dict(zip(columns, values.T, strict=True))
        tables.append(np.stack([by_name["w"], by_name["v"], level], axis=1))
    dataset = ooc.open(str(tmp_path / "*.zarr"), features=["X[w,v]", "level"])
    np.testing.assert_array_equal(all_of(dataset, dataset.features), np.concatenate(tables))
    assert feature_names_of(dataset) == ("w", "v", "level")
    assert set(fingerprint(dataset, [dataset.features])["files"]) == {
        "store 0: X", "store 0: level", "store 1: X", "store 1: level",
    }  # fmt: skip


@pytest.mark.slow
def test_codes_of_several_stores_are_hashed_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 40, (90, 5)).astype(np.int32)
    for name, rows in (("a", codes[:53]), ("b", codes[53:])):
        foreign(tmp_path / f"{name}.zarr", 3, X={"data": rows, "chunks": (20, 5)})
    foreign(tmp_path / "one.zarr", 3, X={"data": codes, "chunks": (20, 5)})
    both = ooc.open([f"{tmp_path}/a.zarr", f"{tmp_path}/b.zarr"], transform="hash:6")
    one = ooc.open(tmp_path / "one.zarr", transform="hash:6")
    found, wanted = (
        [batch["X"].toarray() for batch in ooc.Loader(each, 90, memory="512MiB", shuffle="none")]
        for each in (both, one)
    )
    np.testing.assert_array_equal(found, wanted)
    assert set(fingerprint(both, ["X"])["files"]) == {"store 0: X", "store 1: X"}
