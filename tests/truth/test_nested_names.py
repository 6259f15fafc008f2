"""Arrays of groups in a group, as AnnData keeps embeddings and labels: roles like any other."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from shell import called, refused

import ooc
from ooc.cli import main
from ooc.store.members import quiet

ROWS = 320
X = np.random.default_rng(0).standard_normal((ROWS, 3)).astype(np.float32)
CODES = np.where(np.arange(ROWS) % 40 == 5, -1, X[:, 0] > 0).astype(np.int8)
KINDS = ("old", "new")


def write(path: Path, zarr_format: int, kind: str) -> tuple[str, str]:
    """Write what AnnData 0.7 (old) or 0.8 and later (new) write; tell where the labels are."""
    group = zarr.create_group(
        path, zarr_format=zarr_format, attributes={"encoding-type": "anndata"}
    )
    for name, data in {"data": np.ones(ROWS), "indptr": np.arange(ROWS + 1)}.items():
        group.create_array(f"X/{name}", data=data)
    group["X"].attrs["encoding-type"] = "csr_matrix"
    group.create_array("obsm/X_pca", data=X, chunks=(50, 3))
    group.create_array("obsm/X_umap", data=X[:, :2], chunks=(50, 2))
    obs = group.create_group("obs", attributes={"encoding-type": "dataframe"})
    with quiet():
        if kind == "old":
            declared = {"categories": "__categories/kind"}
            obs.create_array("kind", data=CODES, chunks=(70,), attributes=declared)
            obs.create_array("__categories/kind", shape=2, dtype=str)[:] = np.array(["a", "b"])
            return "obsm/X_pca", "obs/kind"
        obs.create_array("kind/codes", data=CODES, chunks=(70,))
        obs.create_array("kind/categories", shape=2, dtype=str)[:] = np.array(["a", "b"])
    obs["kind"].attrs["encoding-type"] = "categorical"
    return "obsm/X_pca", "obs/kind/codes"


@pytest.mark.slow
@pytest.mark.parametrize(("zarr_format", "kind"), [(2, "old"), (3, "new")])
def test_embeddings_and_codes_of_categories_are_trained_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    zarr_format: int,
    kind: str,
) -> None:
    monkeypatch.chdir(tmp_path)  # where runs without a name go
    path, run = tmp_path / "a.zarr", str(tmp_path / "run")
    features, target = write(path, zarr_format, kind)
    roles = ("--features", features, "--target", target)
    line = refused(capsys, "train", str(path), *roles, "--memory", "512MiB")
    assert f"array {target} of {path} has a missing value in row 5" in line
    assert "codes of " in line
    rule = ("--memory", "512MiB", "--missing-values", "drop")
    trained = ("--lr", "1", "--epochs", "9", "--run", run)
    done = called(capsys, "train", str(path), *roles, *rule, *trained)
    found = called(capsys, "evaluate", run, str(path), *roles, *rule)
    there = CODES >= 0
    assert np.sum(found["confusion_matrix"], axis=1).tolist() == [
        np.count_nonzero(CODES[there] == label) for label in (0, 1)
    ]
    assert found["missing"] == {target: np.count_nonzero(~there)} and found["accuracy"] > 0.95
    assert called(capsys, "resume", run)["steps"] == done["steps"]
    called(capsys, "plan", str(path), *roles, "--memory", "512MiB")
    assert set(called(capsys, "info", str(path), *roles)["arrays"]) == {features, target}
    assert main(["info", str(path), *roles]) == 0
    said = capsys.readouterr().out
    assert f" {features} " in said and f" {target} " in said, "names as they are to be given"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_shuffle_keeps_the_names_and_what_codes_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path, moved = tmp_path / "a.zarr", tmp_path / "b.zarr"
    features, target = write(path, 3, kind)
    roles = ("--features", features, "--target", target)
    said = called(capsys, "shuffle", str(path), str(moved), *roles, "--memory", "512MiB")
    assert said["left_out"].keys() <= {"X"}, "which is a sparse matrix"
    copy = zarr.open_group(moved, mode="r")
    values, codes = copy[features][:], copy[target][:]
    order = np.lexsort(values.T)
    np.testing.assert_array_equal(values[order], X[np.lexsort(X.T)])
    np.testing.assert_array_equal(codes[order], CODES[np.lexsort(X.T)])
    batches = ooc.Loader(
        ooc.open(moved, features, target), 50, memory="512MiB", missing_values="drop"
    )
    assert sum(len(batch.rows) for batch in batches) == np.count_nonzero(CODES >= 0)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("name", "reason"),
    {
        "../a.zarr/obsm/X_pca": "is no name inside of the group",
        "obsm/../obsm/X_pca": "is no name inside of the group",
        "/obsm/X_pca": "is no name inside of the group",
        "obsm//X_pca": "is no name inside of the group",
        "X/data": "is a part of a sparse matrix of AnnData (csr_matrix) and no rows",
        "obs/kind": "is a group: a categorical column of AnnData",
        "obs/kind/categories": "is a part of a categorical column of AnnData and no rows",
        "obsm/none": "has no array 'obsm/none' for features",
    }.items(),
)
def test_a_name_that_is_no_array_of_rows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    path = tmp_path / "a.zarr"
    write(path, 3, "new")
    assert reason in refused(capsys, "info", str(path), "--features", name)
