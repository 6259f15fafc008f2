"""Random numbers are functions of (seed, purpose, epoch, index)."""

import itertools

import numpy as np

from ooc.core.random_keys import Purpose, generator, key


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
