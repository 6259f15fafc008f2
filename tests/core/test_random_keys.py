"""Random numbers are functions of (seed, purpose, epoch, index)."""

import itertools

import numpy as np
import pytest

from ooc.core.random_keys import Purpose, generator, key, prefix


def test_all_four_parts_matter_and_none_can_stand_for_another() -> None:
    parts = list(itertools.product((0, 1, 2), (Purpose.DATA, Purpose.TRUTH), (0, 1), (0, 1, 2)))
    assert len({key(*part) for part in parts}) == len(parts)
    assert len({generator(*part).integers(2**63) for part in parts}) == len(parts)


def test_no_purpose_stands_for_another() -> None:
    """An enumeration lists a second name of a number among its members alone."""
    assert len(Purpose) == len(Purpose.__members__) > 10


def test_keys_fit_a_signed_integer() -> None:
    assert all(0 <= key(seed, Purpose.DATA) < 2**63 for seed in range(1000))


def test_global_state_is_not_touched() -> None:
    before = np.random.get_state(legacy=True)
    generator(3, Purpose.DATA).random(100)
    after = np.random.get_state(legacy=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def mixed(value: int) -> int:
    """SplitMix64's step and finaliser (Steele, Lea and Flood, 2014), in NumPy's own uint64."""
    with np.errstate(over="ignore"):
        z = np.uint64(value) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int(z ^ (z >> np.uint64(31)))


@pytest.mark.parametrize("seed", [0, 7, -3, 2**64 - 1, 2**70])
@pytest.mark.parametrize(("epoch", "index"), [(0, 0), (3, 0), (0, 5), (2**40, (3 << 32) + 9)])
def test_a_key_chains_a_step_for_each_of_its_parts(seed: int, epoch: int, index: int) -> None:
    chained = 0
    for part in (seed, Purpose.SPLIT, epoch):
        chained = mixed(chained ^ (part % 2**64))
    assert prefix(seed, Purpose.SPLIT, epoch) == chained
    assert key(seed, Purpose.SPLIT, epoch, index) == mixed(chained ^ index) >> 1


def test_a_generator_is_numpys_own_for_the_four_parts() -> None:
    for seed, epoch, index in ((0, 0, 0), (5, 2, 9), (-1, 0, 1)):
        sequence = np.random.SeedSequence([seed % 2**64, int(Purpose.TRUTH), epoch, index])
        expected = np.random.Generator(np.random.SFC64(sequence)).random(4)
        found = generator(seed, Purpose.TRUTH, epoch, index).random(4)
        np.testing.assert_array_equal(found, expected)


def test_a_purpose_keeps_its_number() -> None:
    """Runs that were saved go on with the rows and numbers that they had."""
    assert {each.name: each.value for each in Purpose} == {
        "BLOCK_ORDER": 1,
        "ROW_ORDER": 2,
        "PARAMETERS": 3,
        "TRUTH": 4,
        "DATA": 5,
        "HELD_OUT_DATA": 6,
        "BATCH": 7,
        "EXACT_ORDER": 20,
        "BLOCK_SAMPLE": 21,
        "SPLIT": 22,
        "DRAWS": 23,
    }
