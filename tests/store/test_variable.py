"""Strings and bytes of any length survive in bytes of one width."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.store.variable import as_bytes, pack_values, unpack_values

TEXT, OBJECTS = np.dtypes.StringDType(), np.dtype(object)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=9), min_size=6, max_size=6), st.integers(0, 5))
def test_texts_come_back(texts: list[str], more: int) -> None:
    values = np.array(texts, TEXT).reshape(2, 3)
    width = 4 + max(len(text.encode()) for text in texts) + more
    packed = pack_values(values, width)
    assert (packed.shape, packed.dtype) == ((2, 3, width), np.uint8)
    for place, text in zip(np.ndindex(2, 3), texts, strict=True):
        stored = text.encode()
        assert bytes(packed[place]) == len(stored).to_bytes(4, "little") + stored.ljust(
            width - 4, b"\0"
        )
    found = unpack_values(packed, TEXT)
    assert found.tolist() == values.tolist() and found.dtype == TEXT


@pytest.mark.parametrize("values", [[b"", b"\0", b"ab\0"], [b"\xff" * 300, b"x", b""]])
def test_bytes_come_back(values: list[bytes]) -> None:
    objects = np.empty(3, object)
    objects[:] = values
    width = 4 + max(map(len, values))
    for shape in ((3,), (3, 1)):
        found: Any = unpack_values(pack_values(objects.reshape(shape), width), OBJECTS)
        assert found.shape == shape and found.ravel().tolist() == values
    assert found.dtype == OBJECTS


def test_text_is_stored_as_utf_8() -> None:
    assert (as_bytes("é"), as_bytes(b"\xff"), as_bytes(5)) == (b"\xc3\xa9", b"\xff", b"5")
