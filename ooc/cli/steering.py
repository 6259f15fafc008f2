"""Options that steer a run: its batch size and its temperature."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ooc.cli.groups import option
from ooc.cli.options import read
from ooc.core.errors import InputError

if TYPE_CHECKING:
    from ooc.training.watchers.steering import Steering


@dataclass(frozen=True)
class SteeringOptions:
    """How batch size and temperature change while a run goes on."""

    batch_schedule: str | None = option(
        "Rows of a step from certain steps on, such as 1000=512,5000=4096."
    )
    auto_batch: bool = option("Double the batch as the gradient noise scale grows.", False)
    temperature: str | None = option(
        "Factors of learning rate over batch size at certain steps, such as 0=1,5000=0.01; in "
        "between they are interpolated."
    )
    temperature_by: str = option("rate or batch: what is changed to meet the temperature.", "rate")
    largest_batch: int | None = option("Most rows of a step, for both of them.")
    steer_every: int = option("Steps between their decisions.", 100)

    def make(self) -> "Steering | None":
        """Make what the options say; None where they say nothing."""
        from ooc.training.watchers.steering import AUTO, Steering

        if self.auto_batch and self.batch_schedule is not None:
            raise InputError("--auto-batch and --batch-schedule are two ways; choose one")
        batch: Any = AUTO
        if not self.auto_batch:
            batch = _points("batch-schedule", self.batch_schedule, int)
        heat = _points("temperature", self.temperature, float)
        if batch is None and heat is None:
            if self.largest_batch is not None or self.temperature_by != "rate":
                raise InputError(
                    "--largest-batch and --temperature-by are for --auto-batch and --temperature; "
                    "give one of these"
                )
            return None
        return Steering(batch, heat, self.temperature_by, self.largest_batch, self.steer_every)


def _points(name: str, text: str | None, number: type) -> list[tuple[int, Any]] | None:
    """Read steps and values, where there are any."""

    def points(text: str) -> list[tuple[int, Any]]:
        parts = [part.partition("=")[::2] for part in text.split(",")]
        return [(int(step), number(value)) for step, value in parts]

    problem = f"--{name} is made of steps and values, as in 0=64,1000=128, not {{!r}}"
    return None if text is None else read(text, points, problem)
