"""Objects of AnnData open as their own stores do, sparse rows as sparse ones."""

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas
import pytest
import scipy.sparse

import ooc
from ooc.core.errors import InputError
from ooc.runs.classes import labels_of

KINDS = np.array(["B", "T", "T", "NK"] * 30)


def cells(dense: bool = False) -> anndata.AnnData:
    matrix: Any = scipy.sparse.random(120, 30, 0.2, "csr", np.float32, random_state=0)
    obs = pandas.DataFrame(
        {"kind": pandas.Categorical(KINDS), "age": np.arange(120), "ok": KINDS == "B"},
        index=[f"cell {number}" for number in range(120)],
    )
    made = anndata.AnnData(matrix.toarray() if dense else matrix, obs=obs)
    made.layers["counts"] = matrix * 2
    made.obsm["pca"] = np.random.default_rng(0).standard_normal((120, 4))
    return made


def rows_of(dataset: ooc.store.dataset.Dataset) -> Any:
    loader = ooc.Loader(dataset, 15, memory="512MiB", shuffle="none")
    parts = [batch[dataset.features] for batch in loader]
    stacked = (
        scipy.sparse.vstack(parts).toarray()
        if dataset.arrays[dataset.features].is_sparse
        else np.concatenate(parts)
    )
    return stacked


@pytest.mark.slow
@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_it_is_opened_as_what_it_holds(
    tmp_path: Path, backed: bool, dense: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    held = cells(dense)
    expected = np.asarray(held.X if dense else held.X.toarray())
    if backed:
        held.write_h5ad(tmp_path / "a.h5ad")
        held = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    dataset = ooc.open(held, target="obs/kind")
    assert dataset.arrays["X"].is_sparse != dense
    np.testing.assert_array_equal(rows_of(dataset), expected)
    labels = labels_of(dataset)
    assert labels is not None and labels.names == ("B", "NK", "T")
    layer = ooc.open(held, features="layers/counts", target="obs/age")
    np.testing.assert_array_equal(rows_of(layer), cells().layers["counts"].toarray())
    np.testing.assert_array_equal(rows_of(ooc.open(held, "obsm/pca")), cells().obsm["pca"])
    assert "the anndata.AnnData is not as it is in a Zarr store" in capsys.readouterr().err
    _, validation = ooc.split(dataset, by="obs/kind", groups=["NK"])
    np.testing.assert_array_equal(rows_of(validation), expected[KINDS == "NK"])


def test_a_view_of_a_file_is_refused(tmp_path: Path) -> None:
    cells().write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(InputError, match=r"a view of the backed file .*a.h5ad; open the"):
        ooc.open(backed[:10])


def test_a_view_of_memory_is_what_it_shows() -> None:
    shown = cells()[20:50]
    np.testing.assert_array_equal(rows_of(ooc.open(shown)), cells().X.toarray()[20:50])
