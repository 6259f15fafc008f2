"""The clusters' pipeline: energies, minimisers, published minima, noise floors, the archive."""

import json
import subprocess
import sys
from pathlib import Path

import molecules
import molecules_archive as archive
import molecules_batches as batches
import molecules_kernel as kernel
import molecules_quench as quench
import molecules_scipy as peers
import molecules_search as searches
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import ooc
from ooc.core.errors import DataError
from ooc.core.random_keys import Purpose, key

MINIMISERS = (quench.minimise_lbfgs, quench.minimise_cg)


def naive_energy(positions: np.ndarray) -> float:
    """Four lines of the textbook."""
    total = 0.0
    for i in range(positions.shape[1]):
        for j in range(i):
            r = np.linalg.norm(positions[:, i] - positions[:, j])
            total += 4 * (r**-12 - r**-6)
    return total


def energy_of(positions: np.ndarray) -> float:
    return kernel.energy_and_gradient(positions, np.empty_like(positions))


def gradient_of(positions: np.ndarray) -> np.ndarray:
    gradient = np.empty_like(positions)
    kernel.energy_and_gradient(positions, gradient)
    return gradient


def minimum(atoms: int, index: int = 0) -> np.ndarray:
    positions = batches.start_of(atoms, 0, index)
    quench.minimise_lbfgs(positions, 1e-8, 10_000)
    return positions


starts = st.builds(batches.start_of, st.integers(2, 20), st.integers(0, 2**62))


@settings(max_examples=30)
@given(starts)
def test_the_energy_is_that_of_its_naive_twins(positions: np.ndarray) -> None:
    expected = naive_energy(positions)
    energy, gradient = peers.numpy_energy_and_gradient(positions.reshape(-1))
    scale = max(1.0, np.abs(gradient).max())
    assert energy_of(positions) == pytest.approx(expected, rel=1e-11, abs=1e-10)
    assert energy == pytest.approx(expected, rel=1e-11, abs=1e-10)
    np.testing.assert_allclose(
        gradient_of(positions).reshape(-1) / scale, gradient / scale, 0, 1e-12
    )
    by_atom = np.empty(positions.shape[1])
    kernel.atom_energies(positions, by_atom)
    assert by_atom.sum() == pytest.approx(2 * expected, rel=1e-11, abs=1e-10)


@settings(max_examples=20)
@given(starts)
def test_the_gradient_is_the_slope_of_the_energy(positions: np.ndarray) -> None:
    gradient, width = gradient_of(positions), 1e-6
    for place in range(positions.size):
        ends = []
        for sign in (1, -1):
            moved = positions.copy()
            moved.reshape(-1)[place] += sign * width
            ends.append(energy_of(moved))
        slope = (ends[0] - ends[1]) / (2 * width)
        tolerance = 1e-5 * max(1.0, np.abs(gradient).max())
        assert gradient.reshape(-1)[place] == pytest.approx(slope, abs=tolerance)


@settings(max_examples=30)
@given(starts, st.integers(0, 2**32 - 1))
def test_turning_shifting_and_renaming_atoms_changes_nothing(
    positions: np.ndarray, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=rng).as_matrix()
    order = rng.permutation(positions.shape[1])
    moved = np.ascontiguousarray((turn @ positions + rng.normal(size=(3, 1)))[:, order])
    before, after = gradient_of(positions), gradient_of(moved)
    scale = max(1.0, np.abs(before).max())
    assert energy_of(moved) == pytest.approx(energy_of(positions), rel=1e-10, abs=1e-9)
    np.testing.assert_allclose(after / scale, (turn @ before)[:, order] / scale, 0, 1e-9)


@given(starts)
def test_starts_are_in_their_sphere_and_no_two_atoms_are_too_near(positions: np.ndarray) -> None:
    atoms = positions.shape[1]
    assert np.linalg.norm(positions, axis=0).max() <= kernel.LOOSE * atoms ** (1 / 3)
    apart = np.linalg.norm(positions[:, :, None] - positions[:, None, :], axis=0)
    assert apart[np.triu_indices(atoms, 1)].min() >= kernel.NEAREST
    np.fill_diagonal(apart, np.inf)
    assert kernel.nearest_distance(positions) == pytest.approx(apart.min(axis=1).mean())


@pytest.mark.parametrize("minimise", MINIMISERS)
@pytest.mark.parametrize(("atoms", "energy"), [(2, -1), (3, -3), (4, -6)])
def test_simplexes_have_a_pair_s_energy_on_each_edge(minimise, atoms: int, energy: int) -> None:
    positions = batches.start_of(atoms, 3)
    found, norm, _ = minimise(positions, 1e-8, 10_000)
    assert found == pytest.approx(energy, abs=1e-12)
    assert norm < 1e-8


@pytest.mark.parametrize("minimise", MINIMISERS)
@pytest.mark.parametrize("atoms", [13, 38])
def test_a_minimisation_goes_down_to_a_norm_of_a_hundred_millionth(minimise, atoms: int) -> None:
    for index in range(20):
        start = batches.start_of(atoms, 1, index)
        positions = start.copy()
        energy, norm, evaluations = minimise(positions, 1e-8, 10_000)
        assert energy < energy_of(start)
        assert energy == pytest.approx(naive_energy(positions), abs=1e-10)
        assert norm < 1e-8
        assert np.linalg.norm(gradient_of(positions)) == pytest.approx(norm, rel=1e-6)
        assert evaluations < 3000


@pytest.mark.parametrize("minimise", MINIMISERS)
def test_near_a_minimum_all_minimisers_find_that_one(minimise) -> None:
    lowest = minimum(13, 2)
    start = lowest + 0.02 * np.random.default_rng(0).normal(size=lowest.shape)
    energy, *_ = minimise(start.copy(), 1e-8, 10_000)
    for method in ("L-BFGS-B", "CG"):
        by_scipy, norm, _ = peers.scipy_minimise(method, peers.numpy_energy_and_gradient, start)
        assert norm < 1e-4
        assert energy == pytest.approx(by_scipy, abs=1e-9)
    assert energy == pytest.approx(energy_of(lowest), abs=1e-12)


@pytest.mark.parametrize("minimise", MINIMISERS)
def test_a_minimisation_ends_when_its_evaluations_are_used_up(minimise) -> None:
    _, norm, evaluations = minimise(batches.start_of(13, 0), 1e-8, 30)
    assert norm > 1e-8
    assert 30 <= evaluations < 60


@pytest.mark.slow
def test_random_starts_find_the_published_minimum_of_13_atoms() -> None:
    found = searches.search_many(13, 0, 100, 5000)
    assert sum(each.is_global for each in found) == 100
    for each in found:
        assert naive_energy(each.positions) == pytest.approx(-44.326801, abs=1e-6)
        assert each.quenches <= 5000


def test_searches_are_the_same_on_any_number_of_threads() -> None:
    alone, shared = (searches.search_many(13, 5, 12, 50, threads) for threads in (1, 4))
    for one, other in zip(alone, shared, strict=True):
        assert one.positions.tobytes() == other.positions.tobytes()
        assert (one.energy, one.quenches) == (other.energy, other.quenches)
    assert len({each.positions.tobytes() for each in alone}) == 12


def test_a_search_keeps_to_its_number_of_quenches_and_tells_what_it_missed() -> None:
    found = searches.search(38, 0, 1, 3, -200.0)
    assert found.quenches == 3
    assert not found.is_global
    assert found.error > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("atoms", "hits"), [(38, 8), (55, 10)])
def test_random_starts_find_the_published_minima_of_more_atoms(atoms: int, hits: int) -> None:
    found = searches.search_many(atoms, 0, 10, 5000)
    good = [each for each in found if each.is_global]
    assert len(good) >= hits
    for each in good:
        expected = searches.PUBLISHED[atoms]
        assert naive_energy(each.positions) == pytest.approx(expected, abs=1e-6)


def test_a_batch_of_all_pairs_is_the_gradient() -> None:
    positions, pairs = batches.start_of(9, 0), batches.all_pairs(9)
    gradient = np.empty_like(positions)
    batches.batch_gradient(positions, pairs, len(pairs), np.ones(1, np.uint64), gradient)
    np.testing.assert_allclose(gradient, gradient_of(positions), rtol=1e-9, atol=1e-7)
    np.testing.assert_array_equal(np.unique(pairs, axis=0), batches.all_pairs(9)[:, :])


def test_batches_are_unbiased_and_their_noise_is_what_is_computed() -> None:
    positions, pairs, state = minimum(8), batches.all_pairs(8), np.full(1, 7, np.uint64)
    drawn = np.empty((20_000, *positions.shape))
    for each in drawn:
        batches.batch_gradient(positions, pairs, 5, state, each)
    drawn = drawn.reshape(len(drawn), -1)
    expected = batches.noise_covariance(positions, 5)
    spread = np.sqrt(np.diag(expected) / len(drawn))
    assert (np.abs(drawn.mean(axis=0)) < 5 * spread).all()
    found = np.cov(drawn.T)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert np.trace(expected) > 10
    # Of all pairs none is left to chance.
    assert np.abs(batches.noise_covariance(positions, len(pairs))).max() == 0


@pytest.mark.parametrize("way", [way for way in batches.WAYS if way.half_after == np.inf][:2])
def test_descent_on_batches_stalls_where_theory_says(way: batches.Way) -> None:
    start = minimum(13, 1)
    trace = batches.trace_batches(way, start, 400_000, 0)
    assert trace.settled == pytest.approx(trace.floor, rel=0.3)
    full = batches.trace_full("L-BFGS", batches.start_of(13, 0, 1))
    assert full.gradient_norm[-1] < 1e-8 < 1e-2 < trace.gradient_norm.min()
    assert full.work[-1] < 0.01 * trace.work[-1]


def test_a_falling_rate_goes_down_and_needs_more_work_than_there_is() -> None:
    way = next(way for way in batches.WAYS if way.half_after < np.inf)
    short, long = (
        batches.trace_batches(way, minimum(13, 1), steps, 0) for steps in (30_000, 600_000)
    )
    assert 4 < short.settled / long.settled < 50
    assert long.needed > 1e18


def test_the_floor_is_infinite_where_descent_is_unstable() -> None:
    positions = minimum(13)
    largest = np.linalg.eigvalsh(batches.hessian(positions)).max()
    assert batches.sgd_floor(positions, 8, 1.9 / largest) < np.inf
    assert batches.sgd_floor(positions, 8, 2.1 / largest) == np.inf


def test_the_archive_is_the_same_on_any_number_of_threads(tmp_path: Path) -> None:
    for threads in (1, 3):
        path = tmp_path / f"{threads}.zarr"
        archive.write_archive(path, 7, 900, 4, threads, chunk_bytes=10_000)
    one, other = (zarr.open_group(tmp_path / f"{threads}.zarr", mode="r") for threads in (1, 3))
    for name in ("X", "energy", "gradient_norm", "evaluations", "start"):
        assert np.asarray(one[name][:]).tobytes() == np.asarray(other[name][:]).tobytes()
    np.testing.assert_array_equal(one["start"][:], np.arange(900))


def test_a_row_of_the_archive_is_the_minimum_below_its_start(tmp_path: Path) -> None:
    archive.write_archive(tmp_path / "a.zarr", 7, 300, 4, chunk_bytes=10_000)
    rows = zarr.open_group(tmp_path / "a.zarr", mode="r")
    for row in (0, 1, 299):
        positions = np.empty((3, 7))
        kernel.draw_start(
            np.full(1, key(4, Purpose.DATA, index=row), np.uint64), kernel.LOOSE, positions
        )
        energy, norm, evaluations = quench.minimise_lbfgs(positions, 1e-8, 10_000)
        assert (rows["energy"][row], rows["gradient_norm"][row]) == (energy, norm)
        assert rows["evaluations"][row] == evaluations
        centred = positions - positions.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(rows["X"][row], centred.T, atol=1e-6)


def test_the_summary_is_that_of_the_rows_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "BATCH_SIZE", 700)
    archive.write_archive(tmp_path / "a.zarr", 8, 5000, 0, chunk_bytes=20_000)
    summary = archive.summarise(ooc.open(tmp_path / "a.zarr"), "1GiB")
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
    summary = archive.summarise(ooc.open(tmp_path / "some"), "1GiB")
    assert summary.unconverged == 2
    assert summary.counts.sum() == 4
    assert summary.largest_error == pytest.approx(0.5, abs=1e-6)
    with pytest.raises(DataError, match=r"none of the 6 minima of .*none has a gradient norm"):
        archive.summarise(ooc.open(tmp_path / "none"), "1GiB")


@pytest.mark.slow
def test_the_pipeline_searches_times_descends_archives_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = molecules.Size(((13, 3),), ((13, 2),), 20_000, "2k")
    monkeypatch.setattr(molecules, "QUICK", small)
    arguments = ["--quick", "--json", "--memory", "2GiB", "--folder", str(tmp_path)]
    assert molecules.main(arguments) == 0
    printed = capsys.readouterr().out
    result = json.loads(printed.splitlines()[-1])
    assert result["searches"][0]["hits"] == 3
    assert [row["converged"] for row in result["minimisers"][:2]] == [2, 2]
    assert result["archive"]["rows"] == 2000
    assert result["archive"]["unconverged"] == 0
    assert result["memory_peak_bytes"] <= result["memory_budget_bytes"] == 2**31
    for name in ("descent.png", "minima.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert "   13    -44.326801" in printed
    options = [*arguments, "--minima", "3k", "--searches", "13:2"]
    (tmp_path / "minima-2000-seed0.zarr").rename(tmp_path / "minima-3000-seed0.zarr")
    assert molecules.main(options) == 2
    assert "has 2000 minima of 13 atoms and seed 0, not 3000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minima", "0"], "'0' is not a positive count"),
        (["--memory", "lots"], "'lots' is not a size"),
        (["--searches", "13:4,12:5"], "'12:5' is no cluster and number of searches"),
        (["--searches", "13"], "'13' is no cluster and number of searches"),
        (["--quenches", "0"], "0 quenches on None threads are not possible"),
        (["--threads", "0"], "5000 quenches on 0 threads are not possible"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert molecules.main([*arguments, "--folder", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("molecules: ")
    assert message in shown.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_archive_of_many_more_rows_takes_no_more_memory(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'pipelines')\n"
        "from pathlib import Path\n"
        "import ooc\n"
        "from molecules_archive import summarise, write_archive\n"
        "from ooc.core.process import peak_bytes\n"
        "def job(rows):\n"
        f"    path = Path({str(tmp_path)!r}, str(rows))\n"
        "    write_archive(path, 4, rows, 0, threads=2)\n"
        "    assert summarise(ooc.open(path), '512MiB').rows == rows\n"
        "    return peak_bytes()\n"
        "print(job(400_000))\n"
        "print(job(1_600_000))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    small, large = map(int, done.stdout.split())
    assert large <= 512 * 2**20
    assert large - small < 24 * 2**20
