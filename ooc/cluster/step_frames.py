"""The frames of a step's question and its answer: bytes at fixed places.

Compiled code reads and writes them, see `ooc.cluster.line_kernels`; here they are for all others. A
question has two int64, the step's number and its batch's rows, two int32, how many models and
shares there are, six int32 a share (see `Share`), a byte for each model, whether it goes on, and
after bytes that fill up eight the parameters. An answer has two int32, shares and models, and two
int64, terms of a model and bytes of a model's gradient; then for each share its terms as float64,
two int32, its rows and a zero, two more for each model, its status and the bad row, and, filled up
to eight, its gradients.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from ooc.cluster.messages import Share, Step
from ooc.core.errors import InputError

QUESTION, ANSWER = struct.Struct("<qqii"), struct.Struct("<iiqq")
SHARE_NUMBERS = 6
INT, WORD = 4, 8


class StepFrame(bytes):
    """A question or an answer, without its length."""


def filled(size: int) -> int:
    """Return a number of bytes, filled up to eight.

    Examples
    --------
    >>> filled(8), filled(9)
    (8, 16)
    """
    return -(-size // WORD) * WORD


def question_bytes(models: int, shares: int) -> int:
    """Return the bytes of a question before its parameters."""
    return QUESTION.size + INT * SHARE_NUMBERS * shares + filled(models)


def answer_bytes(models: int, shares: int, terms: int, gradient_bytes: int) -> int:
    """Return the bytes of an answer."""
    numbers = INT * 2 * (1 + models)
    return ANSWER.size + shares * (
        WORD * models * terms + numbers + filled(models * gradient_bytes)
    )


def pack_question(step: Step, shares: Sequence[Share]) -> StepFrame:
    """Return the question for what comes of some shares.

    Examples
    --------
    >>> step = Step(7, 100, [True, False], bytes(16))
    >>> unpack_question(pack_question(step, [Share(1, 0, 3, 10, 60, 50)]))[1]
    [Share(lane=1, epoch=0, window=3, start=10, stop=60, before=50)]
    """
    models = len(step.active)
    head = QUESTION.pack(step.number, step.batch_size, models, len(shares))
    active = bytes(step.active).ljust(filled(models), b"\0")
    return StepFrame(head + np.array(shares, "<i4").tobytes() + active + step.parameters)


def unpack_question(frame: StepFrame) -> tuple[Step, list[Share]]:
    """Return what `pack_question` was given.

    Raises
    ------
    InputError
        If the frame is shorter than it says.
    """
    number, batch_size, models, count = QUESTION.unpack_from(_long_enough(frame, QUESTION.size))
    whole = question_bytes(models, count)
    _long_enough(frame, whole)
    places = np.frombuffer(frame, "<i4", SHARE_NUMBERS * count, QUESTION.size)
    shares = [Share(*each) for each in places.reshape(-1, SHARE_NUMBERS).tolist()]
    first = whole - filled(models)
    active = [each != 0 for each in frame[first : first + models]]
    return Step(number, batch_size, active, frame[whole:]), shares


def pack_answer(sums: Sequence[Any], models: int) -> StepFrame:
    """Return the answer of shares, each as `ooc.cluster.messages.sums_to_wire` gives it."""
    terms = len(sums[0][2]) // (WORD * models) if sums else 0
    gradient_bytes = len(sums[0][1]) // models if sums else 0
    parts = [ANSWER.pack(len(sums), models, terms, gradient_bytes)]
    for rows, gradients, of_terms, statuses, bad_rows in sums:
        numbers = np.array([rows, 0, *statuses, *bad_rows], "<i4").tobytes()
        parts += [of_terms, numbers, gradients.ljust(filled(len(gradients)), b"\0")]
    return StepFrame(b"".join(parts))


def unpack_answer(frame: StepFrame) -> list[Any]:
    """Return the shares that `pack_answer` was given.

    Raises
    ------
    InputError
        If the frame is shorter than it says.
    """
    shares, models, terms, size = ANSWER.unpack_from(_long_enough(frame, ANSWER.size))
    _long_enough(frame, answer_bytes(models, shares, terms, size))
    at, found = ANSWER.size, []
    for _ in range(shares):
        of_terms = frame[at : at + WORD * models * terms]
        at += len(of_terms)
        rows, _, *numbers = np.frombuffer(frame, "<i4", 2 * (1 + models), at).tolist()
        at += INT * 2 * (1 + models)
        gradients = frame[at : at + models * size]
        at += filled(models * size)
        found.append((rows, gradients, of_terms, numbers[:models], numbers[models:]))
    return found


def _long_enough(frame: StepFrame, size: int) -> StepFrame:
    if len(frame) < size:
        raise InputError(
            f"a step's message has {len(frame)} bytes where it says that it has {size}; client and "
            "workers have to be of one version of ooc"
        )
    return frame
