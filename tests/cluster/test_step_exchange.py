"""Steps over lines without the interpreter: sums in NumPy, peers that trickle, refuse and go."""

import itertools
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from linear_twin import problem
from lines import line_pair
from loops import loop_of

from ooc.cluster.line import GoneError, Line
from ooc.cluster.line_kernels import c_functions
from ooc.cluster.member import Member
from ooc.cluster.messages import Share, Step
from ooc.cluster.step_exchange import StepQuestions, Taken
from ooc.cluster.step_frames import StepFrame, pack_answer, unpack_question
from ooc.cluster.traffic import Traffic
from ooc.core.errors import InputError
from ooc.kernels.counters import BAD_TARGET, NEVER, NOT_FINITE
from ooc.models import Logistic
from ooc.models.loop import WindowLoop
from ooc.models.train_state import start
from ooc.optim import sgd

pytestmark = pytest.mark.skipif(c_functions() is None, reason="the system has no such functions")
Peer = Callable[[Line, Step, list[Share]], None]
BATCH, RATE = 10, 0.5


def sums_of(step: Step, share: Share, width: int) -> tuple[np.ndarray, float]:
    """Return a gradient and a loss that nobody computes, by step and lane."""
    generator = np.random.default_rng([step.number, share.lane, share.start])
    return generator.standard_normal(width).astype("f4"), float(generator.random())


def told(step: Step, shares: Sequence[Share], status: int = 0, row: int = 0) -> StepFrame:
    """Return the answer of a worker that serves such lanes."""
    width = len(step.parameters) // 4
    answers = []
    for share in shares:
        gradient, loss = sums_of(step, share, width)
        rows = share.stop - share.start
        answers.append((rows, gradient.tobytes(), np.float64(loss).tobytes(), [status], [row]))
    return pack_answer(answers, 1)


def answer(line: Line, step: Step, shares: list[Share]) -> None:
    line.send(told(step, shares))


def serve(line: Line, peer: Peer, seen: list[tuple[Step, list[Share]]]) -> None:
    """Answer questions until the other end is gone."""
    try:
        while True:
            message, _ = line.receive()
            step, shares = unpack_question(message)
            seen.append((step, shares))
            peer(line, step, shares)
    except GoneError:
        return


class Bench:
    """A client of two workers, the first of which serves lanes 0 and 2, the second lane 1."""

    def __init__(self, width: int, *peers: Peer) -> None:
        x, y, *_ = problem("logistic", 20, width, True, 0)
        model = Logistic(standardise=False)
        state = start([sgd(RATE)], np.zeros(model.layout((width,)).size, np.float32), model)
        self.loop: WindowLoop = loop_of(model, {"X": x, "y": y}, state, BATCH, lanes=3)
        self.loop.begin()
        self.loop.bind_batch()
        self.state, self.traffic = state, Traffic()
        self.seen: list[list[tuple[Step, list[Share]]]] = [[] for _ in peers]
        pairs = [line_pair() for _ in peers]
        served = ([0, 2], [1])
        self.members = [
            Member(f"worker {number}", near, None, self.traffic, served[number])
            for number, (near, _) in enumerate(pairs)
        ]
        self._threads = [
            threading.Thread(target=serve, args=(far, peer, seen), daemon=True)
            for (_, far), peer, seen in zip(pairs, peers, self.seen, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def take(self, spans: Sequence[Sequence[int]], in_batch: int = 0, **how: Any) -> Taken:
        questions = StepQuestions(self.members, 3, self.loop)
        flush, last = how.get("flush", False), how.get("last_step", NEVER)
        table = np.array(spans, np.int64)
        return questions.take((4, 2), table, in_batch, flush, last, self.traffic)

    def close(self) -> None:
        for member in self.members:
            member.line.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*peers: Peer, width: int = 5) -> Bench:
        made.append(Bench(width, *peers))
        return made[-1]

    yield make
    for each in made:
        each.close()


SPANS = [(0, 0, 0), (4, 3, 3), (7, 6, 7), (10, 10, 10), (13, 12, 11)]


def by_hand(bench: Bench, spans: Sequence[Sequence[int]], steps: int) -> np.ndarray:
    """Return the parameters after steps, as a textbook has them."""
    size = bench.state.parameters.size
    parameters = np.zeros(size, np.float32)
    step = Step(0, BATCH, [True], bytes(4 * size))
    for number, (before, after) in enumerate(itertools.pairwise(spans[: steps + 1])):
        total = np.zeros(size)
        for lane, (first, stop) in enumerate(zip(before, after, strict=True)):
            share = Share(lane, 4, 2, first, stop, 0)
            if stop > first:
                total += sums_of(step._replace(number=number), share, size)[0]
        rows = sum(after) - sum(before)
        parameters = (parameters - RATE * total / rows).astype(np.float32)
    return parameters


def trickle(line: Line, step: Step, shares: list[Share]) -> None:
    """Answer byte by byte."""
    frame = told(step, shares)
    whole = (len(frame) | 2**63).to_bytes(8, "little") + frame
    for place in range(len(whole)):
        line._socket.sendall(whole[place : place + 1])


@pytest.mark.parametrize("second", [answer, trickle])
def test_steps_are_those_of_the_sums(bench: Callable[..., Bench], second: Peer) -> None:
    used = bench(answer, second)
    taken = used.take(SPANS)
    # The last part is not a whole batch, and waits for the next window.
    assert taken == Taken(4, 6) and used.loop.step == used.traffic.steps == 3
    np.testing.assert_allclose(used.state.parameters[0], by_hand(used, SPANS, 3), rtol=1e-5)
    assert all(not each.questions and each.asked == np.inf for each in used.members)
    assert used.traffic.wait_seconds > 0
    assert min(used.traffic.sent, used.traffic.received) > 4 * 4 * used.state.parameters.size


def test_each_worker_is_asked_about_its_lanes_and_told_the_parameters(
    bench: Callable[..., Bench],
) -> None:
    used = bench(answer, answer)
    spans = [(0, 0, 0), (3, 0, 3), (6, 4, 3)]
    assert used.take(spans, in_batch=4) == Taken(2, 7)
    (step, shares), (after, later) = used.seen[0]
    assert (step.number, step.batch_size, step.active) == (0, BATCH, [True])
    assert shares == [Share(0, 4, 2, 0, 3, 4), Share(2, 4, 2, 0, 3, 7)]
    assert later == [Share(0, 4, 2, 3, 6, 0)]
    # The second worker has no row of the first part, and is not asked.
    assert [each for _, each in used.seen[1]] == [[Share(1, 4, 2, 0, 4, 3)]]
    assert step.parameters != after.parameters == used.state.parameters.tobytes()


def test_it_ends_at_the_last_step_and_goes_on_there(bench: Callable[..., Bench]) -> None:
    used = bench(answer, answer)
    assert used.take(SPANS, last_step=2) == Taken(2, 0)
    assert used.take(SPANS[2:], flush=True) == Taken(2, 0)
    assert used.loop.step == 4
    np.testing.assert_allclose(used.state.parameters[0], by_hand(used, SPANS, 4), rtol=1e-5)


@pytest.mark.slow
def test_parameters_that_no_buffer_holds(bench: Callable[..., Bench]) -> None:
    used = bench(answer, answer, width=400_000)
    # The first answer has no room yet, and is left to who makes it.
    assert used.take(SPANS).parts == 0
    for member in used.members:
        assert member.questions == ["shares"] and len(member.receive()) == len(member.lanes)
    assert used.take(SPANS) == Taken(4, 6)
    np.testing.assert_allclose(used.state.parameters[0], by_hand(used, SPANS, 3), rtol=1e-4)


def at_step(number: int, then: Peer) -> Peer:
    def peer(line: Line, step: Step, shares: list[Share]) -> None:
        (then if step.number == number else answer)(line, step, shares)

    return peer


def refuse(line: Line, step: Step, shares: list[Share]) -> None:
    line.send((False, "its disk is full", False))


def test_what_a_worker_says_instead_is_left_to_be_heard(bench: Callable[..., Bench]) -> None:
    used = bench(answer, at_step(2, refuse))
    assert used.take(SPANS) == Taken(2, 0)
    np.testing.assert_allclose(used.state.parameters[0], by_hand(used, SPANS, 2), rtol=1e-5)
    assert [each.questions for each in used.members] == [[], ["shares"]]
    with pytest.raises(InputError, match="its disk is full"):
        used.members[1].receive()
    assert used.take(SPANS[2:], flush=True) == Taken(0, 0)


def test_a_worker_that_goes_leaves_its_batch_untaken(bench: Callable[..., Bench]) -> None:
    used = bench(at_step(1, lambda line, *_: line.close()), answer)
    assert used.take(SPANS) == Taken(1, 0)
    assert [each.questions for each in used.members] == [["shares"], []]
    with pytest.raises(GoneError):
        used.members[0].receive()
    np.testing.assert_allclose(used.state.parameters[0], by_hand(used, SPANS, 1), rtol=1e-5)


def other_shares(line: Line, step: Step, shares: list[Share]) -> None:
    line.send(told(step, shares * 2))


def test_an_answer_to_another_question_is_not_taken(bench: Callable[..., Bench]) -> None:
    used = bench(answer, at_step(1, other_shares))
    assert used.take(SPANS) == Taken(1, 0)
    assert len(used.members[1].receive()) == 2


def test_a_row_that_cannot_be_used_is_told_with_its_share(bench: Callable[..., Bench]) -> None:
    def bad(line: Line, step: Step, shares: list[Share]) -> None:
        line.send(told(step, shares, BAD_TARGET, 2))

    used = bench(answer, at_step(1, bad))
    taken = used.take(SPANS)
    assert taken.parts == 1 and taken.refusal is not None
    assert (taken.refusal.status, taken.refusal.row) == (BAD_TARGET, 2)
    assert taken.share == Share(1, 4, 2, 3, 6, 3)


def test_a_loss_that_is_not_finite_ends_it(bench: Callable[..., Bench]) -> None:
    def lost(line: Line, step: Step, shares: list[Share]) -> None:
        nothing, nan = bytes(len(step.parameters)), np.float64(np.nan).tobytes()
        line.send(pack_answer([(e.stop - e.start, nothing, nan, [0], [0]) for e in shares], 1))

    used = bench(answer, at_step(2, lost))
    taken = used.take(SPANS)
    assert taken.refusal is not None and taken.refusal.status == NOT_FINITE
    assert taken.share is None and used.loop.step == 2


def test_signals_are_heard_while_an_answer_is_waited_for(bench: Callable[..., Bench]) -> None:
    heard = threading.Event()

    def late(line: Line, step: Step, shares: list[Share]) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
        assert heard.wait(100)
        answer(line, step, shares)

    before = signal.signal(signal.SIGUSR2, lambda *_: heard.set())
    try:
        used = bench(answer, at_step(1, late))
        assert used.take(SPANS) == Taken(4, 6)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard.is_set()
