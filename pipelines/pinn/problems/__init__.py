"""Problems whose solutions are known, a file each."""

from dataclasses import replace

from pipelines.pinn.case import judge_outputs
from pipelines.pinn.problems import beams, burgers, cavity, plasma, plate, poisson

CASES = (
    *beams.CASES,
    *plate.CASES,
    *poisson.CASES,
    *burgers.CASES,
    *cavity.CASES,
    *plasma.CASES,
)
# A beam as it is, and the L with fewer points and a bound that its corner lets seconds reach.
QUICK_CASES = (
    beams.CASES[0],
    replace(
        poisson.CASES[0],
        problem=replace(poisson.PROBLEM, hidden=(16, 16), points=600, edge_points=60),
        judge=judge_outputs(poisson.JUDGED, {"u": 0.1}),
        rounds=2,
        passes=500,
    ),
)
