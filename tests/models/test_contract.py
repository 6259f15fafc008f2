"""Layouts: named views of one vector, and which parts are penalised, fixed or touched."""

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.models import Layout
from ooc.models.contract import check_target_size


def test_a_layout_refuses_another_vector() -> None:
    with pytest.raises(InputError, match="vector of 6 entries"):
        Layout({"a": (2, 3)}).views(np.zeros(7))


def test_views_share_the_vector() -> None:
    parameters = np.zeros(8)
    Layout({"a": (2, 3), "b": (2,)}).views(parameters)["b"][1] = 5
    assert parameters[-1] == 5


def test_what_is_trained_and_what_is_penalised() -> None:
    layout = Layout({"a": (2, 2), "b": (2,), "c": (3,)}, frozenset({"b", "c"}), frozenset({"c"}))
    assert (layout.size, layout.trained) == (9, 6)
    assert layout.penalised().tolist() == [True] * 4 + [False] * 5
    assert layout.spans() == {"a": (0, 4), "b": (4, 6), "c": (6, 9)}


@pytest.mark.parametrize(
    ("shapes", "touched"),
    [({"a": (2,), "b": (2, 3)}, "a"), ({"a": (2, 3), "b": (2,)}, "b"), ({"a": (2, 3)}, "b")],
)
def test_a_touched_part_is_the_last_one_and_has_two_axes(
    shapes: dict[str, tuple[int, ...]], touched: str
) -> None:
    with pytest.raises(InputError, match=f"touched part {touched} must be the last one"):
        Layout(shapes, touched=touched)


def test_counts_of_targets_are_compared() -> None:
    check_target_size("linear", (2, 3), 6)
    with pytest.raises(InputError, match=r"linear takes 2 target values a row, but .* have 3"):
        check_target_size("linear", (3,), 2)
