"""A step's question and answer as bytes: they say what they were given, or are refused."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.cluster.messages import Share, Step
from ooc.cluster.step_frames import (
    StepFrame,
    answer_bytes,
    pack_answer,
    pack_question,
    question_bytes,
    unpack_answer,
    unpack_question,
)
from ooc.core.errors import InputError

NUMBER = st.integers(0, 2**31 - 1)
SHARES = st.lists(st.builds(Share, *[NUMBER] * 6), max_size=4)


@given(
    st.integers(0, 2**62),
    st.integers(1, 2**40),
    st.lists(st.booleans(), min_size=1, max_size=17),
    SHARES,
    st.binary(max_size=40),
)
def test_a_question_comes_back(
    number: int, batch: int, active: list[bool], shares: list[Share], parameters: bytes
) -> None:
    step = Step(number, batch, active, parameters)
    frame = pack_question(step, shares)
    assert unpack_question(frame) == (step, shares)
    assert len(frame) == question_bytes(len(active), len(shares)) + len(parameters)


@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from(["f4", "f8"]),
    st.integers(0, 3),
)
def test_an_answer_comes_back(models: int, terms: int, width: int, kind: str, shares: int) -> None:
    generator = np.random.default_rng(0)
    told = [
        (
            int(generator.integers(2**31)),
            generator.standard_normal((models, width)).astype(kind).tobytes(),
            generator.standard_normal((models, terms)).tobytes(),
            generator.integers(0, 5, models).tolist(),
            generator.integers(-1, 2**31, models).tolist(),
        )
        for _ in range(shares)
    ]
    frame = pack_answer(told, models)
    assert unpack_answer(frame) == told
    item = np.dtype(kind).itemsize
    assert len(frame) == answer_bytes(models, shares, terms if shares else 0, width * item)


def test_a_question_is_where_it_says() -> None:
    frame = pack_question(Step(5, 100, [True, False], b"parameters"), [Share(1, 2, 3, 4, 6, 7)])
    assert struct.unpack_from("<qqii", frame) == (5, 100, 2, 1)
    assert struct.unpack_from("<6i", frame, 24) == (1, 2, 3, 4, 6, 7)
    assert frame[48:] == b"\x01\x00" + bytes(6) + b"parameters"


@pytest.mark.parametrize("length", [0, 10, 24, 50])
def test_a_question_that_is_cut_off_is_refused(length: int) -> None:
    frame = pack_question(Step(5, 100, [True] * 9, b""), [Share(1, 2, 3, 4, 6, 7)])
    with pytest.raises(InputError, match=f"has {length} bytes where it says that it has"):
        unpack_question(StepFrame(frame[:length]))


@pytest.mark.parametrize("length", [0, 20, 40])
def test_an_answer_that_is_cut_off_is_refused(length: int) -> None:
    frame = pack_answer([(3, bytes(16), bytes(8), [0], [0])], 1)
    with pytest.raises(InputError, match=f"has {length} bytes where it says that it has"):
        unpack_answer(StepFrame(frame[:length]))
