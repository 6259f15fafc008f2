"""The simulator without costs, beside what theory says of waiting for the first of many."""

from dataclasses import dataclass

import numpy as np

from pipelines.common.checks import Check, format_number, within
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.stragglers.delays import (
    draw_slowness,
    expected_maximum,
    expected_order_statistic,
    harmonic_difference,
)
from pipelines.stragglers.simulate import simulate

RANDOM_KINDS = ("exponential", "lognormal", "Pareto")
SLOW = 10.0
MACHINES, SPARE = 100, 4


@dataclass(frozen=True)
class Form:
    """A case of the table: what is waited for, and its closed form."""

    name: str
    kind: str
    machines: int
    spare: int
    slow: float
    expected: float


def forms() -> list[Form]:
    """Return the cases: the design's pair, other counts and kinds, and one slow machine."""
    found = [
        Form("exponential, H(n) - H(k)", "exponential", n, k, 1, harmonic_difference(n, k))
        for n, k in ((MACHINES, 0), (MACHINES, SPARE), (8, 1), (1024, 41))
    ]
    for kind in RANDOM_KINDS[1:]:
        for spare in (0, SPARE):
            expected = expected_order_statistic(kind, MACHINES, MACHINES - spare)
            found.append(Form(f"{kind}, by quadrature", kind, MACHINES, spare, 1, expected))
    for kind in RANDOM_KINDS:
        expected = expected_maximum(kind, MACHINES, SLOW)
        name = f"{kind}, one {SLOW:g} times slower"
        found.append(Form(name, kind, MACHINES, 0, SLOW, expected))
    return found


def compare(seed: int, steps: int, share: float) -> Section:
    """Hold the simulator to the closed forms, up to a share of each."""
    lines, checks, results = [], list[Check](), []
    for form in forms():
        work = draw_slowness(form.kind, seed, steps, form.machines, form.slow)
        needed = form.machines - form.spare
        seconds = simulate(work, needed, leaves=True).seconds
        error = float(seconds.std(ddof=1) / np.sqrt(steps))
        name = f"{form.name}: the first {needed:,} of {form.machines:,}"
        checks.append(within(f"mean of {name}", float(seconds.mean()), form.expected, share))
        lines.append((name, f"{form.expected:.3f}", f"{seconds.mean():.3f}", format_number(error)))
        results.append({**vars(form), "simulated": float(seconds.mean()), "error": error})
    table = Table(
        "time of a step, in means of a machine's", ("", "closed form", "simulated", "its error"),
        tuple(lines),
    )  # fmt: skip
    return Section(
        "Closed forms",
        f"{steps:,} steps without costs, in which late machines leave their work.",
        (table,), checks=tuple(checks), results={"closed_forms": results},
    )  # fmt: skip
