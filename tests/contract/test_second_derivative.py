"""Derivatives by the input: u'' = f is solved, in float64, by the hybrid method."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from contract.cases import equation_points, solution
from contract.second_derivative import SecondDerivative


@pytest.mark.parametrize(
    ("epochs", "wrong"), [(80, 4e-3), pytest.param(400, 1e-4, marks=pytest.mark.slow)]
)
def test_the_equation_is_solved(
    tmp_path: Path, rng: np.random.Generator, epochs: int, wrong: float
) -> None:
    rows = write_dataset(tmp_path / "a.zarr", chunk_rows=64, **equation_points(1024, rng))
    method = ooc.optim.hybrid(0.01, memory=40)
    run = ooc.Trainer(SecondDerivative(), method, 32, memory="1GiB").fit(rows, epochs)
    assert run.parameters.dtype == np.float64
    x = np.linspace(0, 1, 501)
    found = run.model.predict(run.parameters, x[:, None])
    error = found["prediction"] - solution(x)
    assert np.linalg.norm(error) < wrong * np.linalg.norm(solution(x))
    assert run.results["terms"].keys() == {"equation", "boundary"}
    # The network's second derivative is that of the network.
    near = 1e-4 * np.array([-1, 0, 1])
    u = run.model.predict(run.parameters, (0.3 + near)[:, None])["prediction"]
    bend = run.model.predict(run.parameters, np.array([[0.3]]))["second_derivative"][0]
    assert abs((u[0] - 2 * u[1] + u[2]) / 1e-8 - bend) < 1e-4 * abs(bend)
