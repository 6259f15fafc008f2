"""The physics-informed network: names, laws, gradients, refusals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ooc
from ooc.core.errors import DataError, InputError
from ooc.models.pinn import PINN
from pipelines.pinn.balance import _Batch as Batch


def mixed(u_xy, u_xxyy, v_xxx, v, u_yyy, y, u_xyy):  # type: ignore[no-untyped-def]
    return u_xy * v + u_xxyy - 2 * np.exp(v_xxx / 10), u_yyy * y + np.tanh(u_xyy)


def flux(u, n_x, u_x, n_y, u_y, x):  # type: ignore[no-untyped-def]
    return u_x * n_x + u_y * n_y - u**3 + np.sin(x)


def still(u):  # type: ignore[no-untyped-def]
    return u


def slope_of(u_x):  # type: ignore[no-untyped-def]
    return u_x


def points(rows: int, dtype: str = "float64") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "X": rng.uniform(-1, 1, (rows, 2)).astype(dtype),
        "tag": rng.integers(0, 2, rows),
        "normal": rng.normal(size=(rows, 2)).astype(dtype),
    }


def network(**options: Any) -> tuple[PINN, np.ndarray]:
    given = {"weights": (0.7, 1.3), "hidden": (7, 5), "bounds": ((-1, 1), (-2, 2)), **options}
    model = PINN("xy", ("u", "v"), ((mixed,), (flux,)), **given)  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    parameters = model.init(model.layout((2,)), rng)
    return model, parameters + 0.1 * rng.normal(size=parameters.size).astype(parameters.dtype)


def batch(arrays: dict[str, np.ndarray], weight: np.ndarray | None = None) -> Any:
    rows = np.arange(len(arrays["X"]))
    if weight is None:
        return Batch(arrays, rows=rows)
    whole = {**arrays, "weight": weight}
    return Batch(whole, ("X", None, "weight"), rows, weight=weight)


@pytest.mark.slow
def test_the_gradient_is_the_slope_of_the_loss() -> None:
    model, parameters = network()
    given, gradient = batch(points(150)), np.empty(parameters.size)
    model.loss_and_grad(parameters, given, gradient)
    unused, step = np.empty(parameters.size), 1e-6
    for place in range(0, parameters.size, 5):
        sides = []
        for sign in (1, -1):
            moved = parameters.copy()
            moved[place] += sign * step
            sides.append(model.loss_and_grad(moved, given, unused))
        slope = (sides[0] - sides[1]) / (2 * step)
        assert gradient[place] == pytest.approx(slope, rel=2e-6, abs=2e-7)


@pytest.mark.slow
def test_single_precision_is_near_double() -> None:
    double, parameters = network()
    single, _ = network(dtype="float32")
    found = [np.empty(parameters.size), np.empty(parameters.size)]
    losses = [
        model.loss_and_grad(parameters.astype(model.dtype), batch(points(80)), gradient)
        for model, gradient in zip((double, single), found, strict=True)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-4 * np.abs(found[0]).max())


@pytest.mark.slow
def test_the_loss_is_the_mean_of_weighted_squares() -> None:
    model, parameters = network()
    arrays, rng = points(60), np.random.default_rng(5)
    masses = rng.uniform(0, 2, 60)
    total = 0.0
    for tag, (law, weight) in enumerate(zip((mixed, flux), (0.7, 1.3), strict=True)):
        of = arrays["tag"] == tag
        found = model.evaluate(law, parameters, arrays["X"][of], arrays["normal"][of])
        total += weight * np.sum(found**2 * masses[of])
    loss = model.loss_and_grad(parameters, batch(arrays, masses), np.empty(parameters.size))
    assert loss == pytest.approx(total / 60, rel=1e-12)


@pytest.mark.slow
def test_functions_of_an_equation_have_the_slopes_of_numpy() -> None:
    def law(u, u_x, x):  # type: ignore[no-untyped-def]
        a = np.sin(u) * np.cos(u_x) / (2 + np.tanh(x)) + np.sqrt(3 + u) - np.log(3 + u_x**2)
        b = np.maximum(u, u_x) * np.minimum(u, 0.1) + abs(u_x) ** 1.5 - np.arctan(u) + 2**u
        return a + b - np.sinh(u / 2) + np.cosh(u_x / 2) - (1 - u) / u_x + -np.tan(u / 3)

    model = PINN("x", ("u",), ((law,),), hidden=(6,))
    rng = np.random.default_rng(2)
    parameters = model.init(model.layout((1,)), rng) + 0.3
    places = rng.uniform(-1, 1, (20, 1))
    u, u_x = (model.evaluate(f, parameters, places)[0] for f in (still, slope_of))
    np.testing.assert_allclose(
        model.evaluate(law, parameters, places)[0], law(u, u_x, places[:, 0]), rtol=1e-12
    )
    given = batch({"X": places, "tag": np.zeros(20, np.int64)})
    gradient, unused = np.empty(parameters.size), np.empty(parameters.size)
    model.loss_and_grad(parameters, given, gradient)
    for place in range(parameters.size):
        moved = np.zeros(parameters.size)
        moved[place] = 1e-6
        above = model.loss_and_grad(parameters + moved, given, unused)
        slope = (above - model.loss_and_grad(parameters - moved, given, unused)) / 2e-6
        assert gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def fifth(u_xxxxx):  # type: ignore[no-untyped-def]
    return u_xxxxx


def unknown(w):  # type: ignore[no-untyped-def]
    return w


def branching(u):  # type: ignore[no-untyped-def]
    return u if u > 0 else -u


def foreign(u):  # type: ignore[no-untyped-def]
    import math

    return math.sin(u)


def strange(u):  # type: ignore[no-untyped-def]
    return np.floor(u)


def nothing(u):  # type: ignore[no-untyped-def]
    return None


@pytest.mark.parametrize(
    ("law", "message"),
    [
        (fifth, "fifth asks for u_xxxxx, a fifth derivative, and jets carry derivatives up to the"),
        (unknown, "unknown asks for w; there are the outputs u, the coordinates x, y"),
        (branching, "branching cannot be traced: an equation cannot branch on its numbers"),
        (foreign, "NumPy's functions instead of those of math"),
        (strange, "equations know no floor; they know"),
        (nothing, "nothing returns None, and no residual"),
    ],
)
def test_a_law_that_cannot_be_is_refused(law: Callable[..., Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PINN("xy", ("u",), ((law,),))


def test_settings_that_cannot_be_are_refused() -> None:
    for given, message in (
        ({"weights": (1.0,)}, "1 weights for 2 terms: mixed, flux"),
        ({"bounds": ((0, 0), (1, 2))}, "not a least and a larger value"),
        ({"hidden": (0,)}, "hidden width must be a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            network(**given)
    with pytest.raises(InputError, match="tag 1 has no law"):
        PINN("xy", ("u",), ((still,), ()))
    with pytest.raises(InputError, match="points have 3 coordinates"):
        network()[0].layout((3,))


@pytest.mark.slow
def test_a_row_that_cannot_be_used_is_named() -> None:
    model, parameters = network()
    arrays = points(70)
    for name, place, value, message in (
        ("tag", 33, 2, "row 33 of tag has 2 .* integers from 0 to 1"),
        ("X", (41, 1), np.nan, "row 41 .* has nan in feature 1"),
    ):
        broken = {key: array.copy() for key, array in arrays.items()}
        broken[name][place] = value
        with pytest.raises(DataError, match=message):
            model.loss_and_grad(parameters, batch(broken), np.empty(parameters.size))


@pytest.mark.slow
def test_both_paths_and_any_threads_give_the_same_run(tmp_path: Path) -> None:
    model, _ = network()
    arrays = points(300)
    path = tmp_path / "points.zarr"
    fields = {"X": ("float64", (2,)), "tag": ("int16", ()), "normal": ("float64", (2,))}
    with ooc.create(path, fields, {}) as writer:
        writer.append({**arrays, "tag": arrays["tag"].astype(np.int16)})
    runs = [
        ooc.Trainer(model, ooc.optim.hybrid(1e-3), 64, memory="1GiB").fit(
            ooc.open(path), 12, report=False
        )
        for _ in range(2)
    ]
    assert np.array_equal(runs[0].parameters, runs[1].parameters)
    assert set(runs[0].results["terms"]) == {"mixed", "flux"}
