"""The compiled autoencoder has the loss of a twin in NumPy, and its slope as gradient."""

from dataclasses import replace

import numpy as np
import pytest
from flux_states import small_problem
from scipy.stats import norm

from ooc.core.errors import DataError
from ooc.kernels.random_numbers import normal
from pipelines.metabolic_flux.model import FluxAutoencoder, _Rows
from pipelines.metabolic_flux.reweigh import log_density

VARIANTS = [
    ("fluxes", 0.0, 0.0),
    ("fluxes", 2.0, 3.0),
    ("null space", 0.0, 3.0),
    ("mirror", 0.0, 0.0),
]


def model_of(form: str, balance: float, bounds: float, **more: object) -> FluxAutoencoder:
    return FluxAutoencoder(
        small_problem()[0], form=form, balance=balance, bounds=bounds,
        **{"codes": 4, "hidden": (6, 5), "warm_up": 10, "dtype": "float64", **more},
    )  # fmt: skip


def rows_of(step: int = 3, seed: int = 11) -> _Rows:
    states = np.concatenate([each[:5] for each in small_problem()[1]])
    condition = np.repeat([0, 1], 5).reshape(-1, 1)
    return _Rows(states, {"X": states, "condition": condition}, np.arange(10), seed, step)


def parameters_of(model: FluxAutoencoder) -> np.ndarray:
    layout = model.layout((small_problem()[0].frame.centres.shape[1],))
    return np.random.default_rng(0).normal(0, 0.3, layout.size)


def twin(model: FluxAutoencoder, parameters: np.ndarray, rows: _Rows) -> float:
    """Return the mean loss of rows, in NumPy alone."""
    problem, frame = model.problem, model.problem.frame
    layout = model.layout(rows.features.shape[1:])
    part, condition = layout.views(parameters), rows.arrays["condition"][:, 0]

    def through(name: str, values: np.ndarray) -> np.ndarray:
        for number in range(1, 4):
            weights, biases = part[f"{name}{number}.weights"], part[f"{name}{number}.biases"]
            values = values @ weights.T + biases
            values = np.tanh(values) if number < 3 else values
        return values

    scales = np.where(frame.is_moving, problem.scales, 0.0)[condition]
    used = frame.is_used[condition]
    if model.form == "fluxes":
        used = frame.is_moving[condition]
        away = rows.features - frame.centres[condition]
        inputs = np.where(used, away / np.where(scales > 0, scales, 1), 0)
    elif model.form == "null space":
        inputs = frame.coordinates(rows.features, condition)
    else:
        inputs = np.zeros((len(condition), model.inputs))
        grid = np.linspace(-3, 3, 25)
        for row, (state, each) in enumerate(zip(rows.features, condition, strict=True)):
            faces = problem.faces
            eta = faces.mirrored(state[None], each)[0] - faces.shifts[each]
            standard = np.linalg.pinv(faces.factors[each]) @ eta
            for k in range(model.inputs):
                knots = faces.knots[each, k]
                low = np.clip(np.searchsorted(knots, standard[k], "right") - 1, 0, 23)
                slope = 0.25 / (knots[low + 1] - knots[low])
                inputs[row, k] = grid[low] + slope * (standard[k] - knots[low])
    described = problem.descriptors[condition]
    mean, log = np.split(through("encoder", np.hstack([inputs, described])), 2, axis=1)
    both = min(model.codes, model.inputs)
    mean[:, :both] += model.past * inputs[:, :both]
    noise = np.array(
        [[normal(rows.seed, row, k) for k in range(model.codes)] for row in range(len(mean))]
    )
    code = mean + np.exp(0.5 * log) * noise
    outputs = through("decoder", np.hstack([code, described]))
    outputs[:, :both] += model.past * code[:, :both]
    density = norm.logpdf(inputs, outputs, np.exp(part["deviations"]))
    loss = -(used * density).sum(axis=1)
    warm = min(1.0, (rows.step + 1) / model.warm_up) if model.warm_up else 1.0
    loss += warm * 0.5 * (mean**2 + np.exp(log) - 1 - log).sum(axis=1)
    if model.form != "mirror":
        states = frame.centres[condition] + scales * outputs if model.form == "fluxes" else (
            frame.fluxes(outputs, condition)
        )  # fmt: skip
        residual = states @ problem.network.stoichiometry.T
        loss += 0.5 * model.balance * (residual**2).sum(axis=1)
        beyond = np.maximum(frame.lower[condition] - states, 0) + np.maximum(
            states - frame.upper[condition], 0
        )
        loss += 0.5 * model.bounds * (beyond**2).sum(axis=1)
    return float(loss.mean())


@pytest.mark.slow
@pytest.mark.parametrize(("form", "balance", "bounds"), VARIANTS)
@pytest.mark.parametrize("warm_up", [0, 10])
def test_the_loss_is_that_of_a_twin(form: str, balance: float, bounds: float, warm_up: int) -> None:
    model, rows = model_of(form, balance, bounds, warm_up=warm_up), rows_of()
    parameters = parameters_of(model)
    found = model.loss_and_grad(parameters, rows, np.empty(parameters.size))
    assert found == pytest.approx(twin(model, parameters, rows), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "balance", "bounds"), VARIANTS)
def test_the_gradient_is_the_slope_of_the_loss(form: str, balance: float, bounds: float) -> None:
    model, rows = model_of(form, balance, bounds), rows_of()
    parameters, gradient = parameters_of(model), np.empty(parameters_of(model).size)
    model.loss_and_grad(parameters, rows, gradient)
    other, random = np.empty(parameters.size), np.random.default_rng(1)
    for start, stop in model.layout(rows.features.shape[1:]).spans().values():
        way = np.zeros(parameters.size)
        way[start:stop] = random.standard_normal(stop - start)
        way /= np.linalg.norm(way)
        ends = [model.loss_and_grad(parameters + h * way, rows, other) for h in (1e-5, -1e-5)]
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(gradient @ way, rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_codes_are_a_function_of_seed_and_row() -> None:
    model = model_of("mirror", 0.0, 0.0)
    parameters, gradient = parameters_of(model), np.empty(parameters_of(model).size)
    losses = [model.loss_and_grad(parameters, rows_of(seed=s), gradient) for s in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("condition", "flux", "message"),
    [(2, 1.0, "has 2 at place 0, but flux_autoencoder takes integers from 0 to 1"),
     (0, np.nan, "row 4 of X has nan in feature 3")],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_named(condition: int, flux: float, message: str) -> None:
    model, rows = model_of("mirror", 0.0, 0.0), rows_of()
    states, conditions = rows.features.copy(), rows.arrays["condition"].copy()
    states[4, 3], conditions[4] = flux, condition
    bad = replace(rows, features=states, arrays={"X": states, "condition": conditions})
    parameters = parameters_of(model)
    with pytest.raises(DataError, match=message):
        model.loss_and_grad(parameters, bad, np.empty(parameters.size))


@pytest.mark.slow
def test_without_layers_the_density_is_a_gaussian() -> None:
    problem, states = small_problem()
    model = model_of("mirror", 0.0, 0.0, codes=problem.frame.dimensions, dtype="float32")
    layout = model.layout((problem.frame.centres.shape[1],))
    parameters = model.init(layout, np.random.default_rng(0))
    for name, view in layout.views(parameters).items():
        if name.endswith("weights"):
            view[...] = 0
    some, condition = states[0][:20], np.zeros(20, np.int64)
    seen = model.encode_with_inputs(parameters, some, condition)[1]
    expected = norm.logpdf(seen[:, problem.frame.is_used[0]]).sum(axis=1)
    found = log_density(model, parameters, some, condition, 0)
    np.testing.assert_allclose(found, expected, atol=1e-4)
