"""A worker of a run's crew: the questions that it was asked, and its answers, in their order."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

from ooc.cluster.line import Line
from ooc.cluster.step_frames import StepFrame, pack_question, unpack_answer
from ooc.cluster.traffic import Traffic
from ooc.core.errors import DataError, InputError

# What is asked for in each step.
COUNTED = ("shares", "legs")


@dataclass
class Member:
    """A worker of the crew.

    Attributes
    ----------
    address, line, task
        Where it is, the line to it, and the task that serves there.
    traffic
        Where messages are counted.
    lanes
        Those that it serves.
    questions
        What it was asked for and has not answered, in order.
    asked
        When it was asked last, by `time.monotonic`; never where it owes no answer.
    late
        Steps since lanes were last dealt out that went on without its answer.
    """

    address: str
    line: Line
    task: Any
    traffic: Traffic
    lanes: list[int] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    asked: float = math.inf
    late: int = 0

    @property
    def is_busy(self) -> bool:
        """Whether it still works on a step."""
        return any(each in COUNTED for each in self.questions)

    def tell(self, message: tuple[Any, ...]) -> None:
        """Ask for something, the message's first entry.

        Raises
        ------
        GoneError
            If it cannot be asked any more.
        """
        asked_for, *given = message
        size = self.line.send(pack_question(*given) if asked_for == "shares" else message)
        self.traffic.sent += size if message[0] in COUNTED else 0
        self.questions.append(message[0])
        self.asked = time.monotonic()

    def receive(self, patience: float = math.inf) -> Any:
        """Return its next answer, to the first of its questions; before any, its greeting.

        Raises
        ------
        GoneError
            If there is none any more.
        InputError, DataError
            If it refuses, in its words.
        """
        told, size = self.line.receive(patience)
        question = self.questions.pop(0) if self.questions else ""
        self.traffic.received += size if question in COUNTED else 0
        self.asked = self.asked if self.questions else math.inf
        if isinstance(told, StepFrame):
            return unpack_answer(told)
        is_answer, answer, *rest = told
        if not is_answer:
            raise (DataError if rest[0] else InputError)(answer)
        return answer

    def hear(self, patience: float = math.inf) -> Any:
        """Return its answer to the last question; what it owed before is too late.

        Raises
        ------
        GoneError, InputError, DataError
            As `receive` does.
        """
        while len(self.questions) > 1:
            self.receive(patience)
        return self.receive(patience)
