"""What a worker answers without the interpreter are the bytes that it answers with it."""

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from lines import line_pair

import ooc
from ooc.cluster.lane_server import LaneServer
from ooc.cluster.line import GoneError, Line
from ooc.cluster.line_kernels import c_functions
from ooc.cluster.messages import LaneWork, Share, Step
from ooc.cluster.serving import _converse
from ooc.cluster.step_frames import StepFrame, pack_question
from ooc.models.contract import Model
from ooc.stream.loader import Loader

pytestmark = pytest.mark.skipif(c_functions() is None, reason="the system has no such functions")
BATCH, LANES = 60, 2
MODELS = {
    "logistic": ooc.models.Logistic(standardise=False),
    "mlp": ooc.models.MLP((6,), dropout=0.3, standardise=False),
}


@pytest.fixture
def loader(tmp_path: Path, rng: np.random.Generator) -> Loader:
    x = rng.standard_normal((700, 4)).astype("f4")
    x[13] = 0
    data = write_dataset(tmp_path / "a.zarr", chunk_rows=20, X=x, y=(x[:, 0] > 0).astype("i8"))
    return Loader(data, BATCH, memory="1GiB", lanes=LANES, window=8, block_rows=20)


def conversation(
    loader: Loader, model: Model, models: int, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> tuple[list[Any], int]:
    """Return answers to questions about two windows, and how many of them Python gave."""
    generator = np.random.default_rng(1)
    first = model.init(model.layout((4,)), generator).astype(np.float32)
    parameters = np.tile(first, (models, 1))
    work = LaneWork(
        loader.dataset, loader.names, loader.plan, loader.stream, model,
        tuple(ooc.optim.sgd(0.1) for _ in range(models)), parameters, 1,
    )  # fmt: skip
    asked: list[Any] = []
    answered = LaneServer.answer

    def answer(server: LaneServer, message: Any) -> Any:
        asked.append(message[0])
        return answered(server, message)

    monkeypatch.setattr(LaneServer, "answer", answer)
    monkeypatch.setattr(LaneServer, "compiled_steps", compiled)
    server = LaneServer(work, "here", 1, LANES)
    near, far = line_pair()
    thread = threading.Thread(target=_converse, args=(far, server, ""), daemon=True)
    thread.start()
    try:
        assert near.receive(100)[0][0]
        found = talk(near, parameters, models)
    finally:
        near.close()
        thread.join(100)
        server.close()
        monkeypatch.setattr(LaneServer, "answer", answered)
    return found, asked.count("shares")


def talk(line: Line, parameters: np.ndarray, models: int) -> list[Any]:
    """Ask about the shares of two windows, now of both lanes, now of one."""
    found, number = [], 0
    for window in range(2):
        line.send(("windows", [(lane, 0, window) for lane in range(LANES)]))
        found.append([each[:-1] for each in line.receive(100)[0][1]])  # without seconds
        for start, stop in itertools.pairwise((0, 30, 50, 51, 80)):
            both = [Share(lane, 0, window, start, stop, 7 * lane) for lane in range(LANES)]
            for shares in (both, both[1:]):
                number += 1
                active = [True, *[number % 3 != each for each in range(1, models)]]
                told = (parameters + 0.1 * number).astype(np.float32).tobytes()
                line.send(pack_question(Step(number, BATCH, active, told), shares))
                found.append(line.receive(100)[0])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("name", "models"), [("logistic", 1), ("logistic", 3), ("mlp", 1)])
def test_answers_are_the_same_to_the_last_bit(
    loader: Loader, monkeypatch: pytest.MonkeyPatch, name: str, models: int
) -> None:
    plain, by_python = conversation(loader, MODELS[name], models, monkeypatch, False)
    compiled, few = conversation(loader, MODELS[name], models, monkeypatch, True)
    assert compiled == plain
    # Python binds each window's rows: those of both lanes by its first question.
    assert (by_python, few) == (16, 2)
    assert sum(isinstance(each, StepFrame) for each in plain) == 16


def test_questions_that_nobody_can_answer_are_not_worked_off(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS["logistic"]
    parameters = np.zeros((1, 5), np.float32)
    work = LaneWork(
        loader.dataset, loader.names, loader.plan, loader.stream, model,
        (ooc.optim.sgd(0.1),), parameters, 1,
    )  # fmt: skip
    server = LaneServer(work, "here", 1, LANES)
    asked: list[Any] = []

    def answer(server: LaneServer, message: Any) -> Any:
        asked.append(message[2] if message[0] == "shares" else message[0])
        if message[0] == "shares" and len(asked) > 2:
            return False, "left to Python", False
        return answered(server, message)

    answered = LaneServer.answer
    monkeypatch.setattr(LaneServer, "answer", answer)
    near, far = line_pair()
    thread = threading.Thread(target=_converse, args=(far, server, ""), daemon=True)
    thread.start()
    near.receive(100)
    near.send(("windows", [(0, 0, 0)]))
    near.receive(100)
    good = Share(0, 0, 0, 0, 10, 0)
    step = Step(0, BATCH, [True], parameters.tobytes())
    near.send(pack_question(step, [good]))
    assert isinstance(near.receive(100)[0], StepFrame)
    bad = [
        (step, good._replace(lane=1)),  # not open
        (step, good._replace(lane=9)),
        (step, good._replace(lane=-1)),
        (step, good._replace(epoch=1)),
        (step, good._replace(window=1)),
        (step, good._replace(stop=10**6)),
        (step, good._replace(start=10)),
        (step, good._replace(start=-1)),
        (step._replace(batch_size=10), good),
        (step._replace(parameters=bytes(12)), good),
        (step._replace(active=[True, True]), good),
    ]
    for told, share in bad:
        near.send(pack_question(told, [share]))
        assert near.receive(100)[0] == [False, "left to Python", False], share
    near.send(pack_question(step, [good]))
    assert isinstance(near.receive(100)[0], StepFrame)
    assert len(asked) == 2 + len(bad)
    near.close()
    thread.join(100)
    server.close()
    with pytest.raises(GoneError):
        near.receive(1)
