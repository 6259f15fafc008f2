"""Searches find the published minima, the same on any number of threads."""

import pytest
from clusters import naive_energy

from pipelines.molecules import basin_hopping


@pytest.mark.slow
def test_random_starts_find_the_published_minimum_of_13_atoms() -> None:
    found = basin_hopping.search_many(13, 0, 100, 5000)
    assert sum(each.is_global for each in found) == 100
    for each in found:
        assert naive_energy(each.positions) == pytest.approx(-44.326801, abs=1e-6)
        assert each.quenches <= 5000


@pytest.mark.slow
def test_searches_are_the_same_on_any_number_of_threads() -> None:
    alone, shared = (basin_hopping.search_many(13, 5, 12, 50, threads) for threads in (1, 4))
    for one, other in zip(alone, shared, strict=True):
        assert one.positions.tobytes() == other.positions.tobytes()
        assert (one.energy, one.quenches) == (other.energy, other.quenches)
    assert len({each.positions.tobytes() for each in alone}) == 12


@pytest.mark.slow
def test_a_search_keeps_to_its_number_of_quenches_and_tells_what_it_missed() -> None:
    found = basin_hopping.search(38, 0, 1, 3, -200.0)
    assert found.quenches == 3
    assert not found.is_global
    assert found.error > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("atoms", "hits"), [(38, 8), (55, 10)])
def test_random_starts_find_the_published_minima_of_more_atoms(atoms: int, hits: int) -> None:
    found = basin_hopping.search_many(atoms, 0, 10, 5000)
    good = [each for each in found if each.is_global]
    assert len(good) >= hits
    for each in good:
        expected = basin_hopping.PUBLISHED[atoms]
        assert naive_energy(each.positions) == pytest.approx(expected, abs=1e-6)
