"""The archive of minima: its rows, and what is read of it in bounded memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from clusters import minimum, naive_energy

import ooc
from ooc.core.errors import DataError
from ooc.core.random_keys import Purpose, key
from pipelines.molecules import data, energy, minimisers
from pipelines.molecules import summary as summary_of

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_the_archive_is_the_same_on_any_number_of_threads(tmp_path: Path) -> None:
    for threads in (1, 3):
        path = tmp_path / f"{threads}.zarr"
        data.write_archive(path, 7, 900, 4, threads, chunk_bytes=10_000)
    one, other = (zarr.open_group(tmp_path / f"{threads}.zarr", mode="r") for threads in (1, 3))
    for name in ("X", "energy", "gradient_norm", "evaluations", "start"):
        assert np.asarray(one[name][:]).tobytes() == np.asarray(other[name][:]).tobytes()
    np.testing.assert_array_equal(one["start"][:], np.arange(900))


@pytest.mark.slow
def test_a_row_of_the_archive_is_the_minimum_below_its_start(tmp_path: Path) -> None:
    data.write_archive(tmp_path / "a.zarr", 7, 300, 4, chunk_bytes=10_000)
    rows = zarr.open_group(tmp_path / "a.zarr", mode="r")
    for row in (0, 1, 299):
        positions = np.empty((3, 7))
        energy.draw_start(
            np.full(1, key(4, Purpose.DATA, index=row), np.uint64), energy.LOOSE, positions
        )
        found, norm, evaluations = minimisers.minimise_lbfgs(positions, 1e-8, 10_000)
        assert (rows["energy"][row], rows["gradient_norm"][row]) == (found, norm)
        assert rows["evaluations"][row] == evaluations
        centred = positions - positions.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(rows["X"][row], centred.T, atol=1e-6)


@pytest.mark.slow
def test_the_summary_is_that_of_the_rows_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary_of, "BATCH_SIZE", 700)
    data.write_archive(tmp_path / "a.zarr", 8, 5000, 0, chunk_bytes=20_000)
    summary = summary_of.summarise(ooc.open(tmp_path / "a.zarr"), "1GiB")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    rows = {name: np.asarray(array[:]) for name, array in group.arrays()}
    energies, first, counts = np.unique(
        np.rint(rows["energy"] * 1e5).astype(int), return_index=True, return_counts=True
    )
    # Eight atoms have eight minima (Hoare and McInnes, 1976).
    assert summary.distinct == len(energies) == 8
    np.testing.assert_allclose(summary.energies, energies * 1e-5, atol=1e-9)
    np.testing.assert_array_equal(summary.counts, counts)
    np.testing.assert_array_equal(summary.first_rows, first)
    assert (summary.rows, summary.unconverged) == (5000, 0)
    assert summary.energies[0] == pytest.approx(-19.821489, abs=1e-5)
    assert summary.lowest_share == counts[0] / 5000
    assert summary.evaluations == pytest.approx(rows["evaluations"].mean())
    apart = np.linalg.norm(rows["X"][:, :, None] - rows["X"][:, None], axis=-1)
    apart[:, np.arange(8), np.arange(8)] = np.inf
    assert summary.mean_nearest == pytest.approx(apart.min(axis=-1).mean(), rel=1e-6)
    stored = [naive_energy(x.T.astype(np.float64)) for x in rows["X"][:200]]
    assert np.abs(stored - rows["energy"][:200]).max() <= summary.largest_error < 1e-9
    found = [len(np.unique(rows["energy"][:count].round(5))) for count in (1, 10, 5000)]
    np.testing.assert_array_equal(summary.found_after(np.array([1, 10, 5000])), found)


@pytest.mark.slow
def test_what_is_not_converged_or_not_stored_well_is_seen(tmp_path: Path) -> None:
    x = np.stack([minimum(5, index).T for index in range(6)]).astype(np.float32)
    energy = np.array([naive_energy(each.T.astype(np.float64)) for each in x])
    columns = {"X": x, "energy": energy, "gradient_norm": np.zeros(6)}
    columns["evaluations"] = np.ones(6, np.int32)
    columns["gradient_norm"][[1, 4]] = 1e-8, np.nan
    columns["energy"][3] += 0.5
    fields = {name: (str(each.dtype), each.shape[1:]) for name, each in columns.items()}
    for name, norms in (("some", columns["gradient_norm"]), ("none", np.ones(6))):
        with ooc.create(tmp_path / name, fields) as writer:
            writer.append(columns | {"gradient_norm": norms})
    summary = summary_of.summarise(ooc.open(tmp_path / "some"), "1GiB")
    assert summary.unconverged == 2
    assert summary.counts.sum() == 4
    assert summary.largest_error == pytest.approx(0.5, abs=1e-6)
    with pytest.raises(DataError, match=r"none of the 6 minima of .*none has a gradient norm"):
        summary_of.summarise(ooc.open(tmp_path / "none"), "1GiB")


@pytest.mark.slow
def test_an_archive_of_many_more_rows_takes_no_more_memory(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "import ooc\n"
        "from pipelines.molecules.data import write_archive\n"
        "from pipelines.molecules.summary import summarise\n"
        "from ooc.core.process import peak_bytes\n"
        "def job(rows):\n"
        f"    path = Path({str(tmp_path)!r}, str(rows))\n"
        "    write_archive(path, 4, rows, 0, threads=2)\n"
        "    assert summarise(ooc.open(path), '512MiB').rows == rows\n"
        "    return peak_bytes()\n"
        "print(job(800_000))\n"
        "print(job(2_400_000))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    small, large = map(int, done.stdout.split())
    assert large <= 512 * 2**20
    assert large - small < 24 * 2**20
