"""Jets of tanh networks against derivatives that are found in another way, and their gradients."""

import numpy as np
import pytest

from ooc.kernels import jets
from ooc.models.pinn import PINN

POINTS = np.array([[0.3, -0.7], [-0.9, 0.1], [0.0, 0.0], [0.55, 0.8]])
BOUNDS = ((-1.0, 2.0), (-1.0, 1.0))


def everything(u, u_x, u_yy, u_xy, u_xxx, u_xxy, u_yyyy, u_xxyy, u_xxxy, v_xx, v_xyy):  # type: ignore[no-untyped-def]
    return u, u_x, u_yy, u_xy, u_xxx, u_xxy, u_yyyy, u_xxyy, u_xxxy, v_xx, v_xyy


NAMES = ("", "x", "yy", "xy", "xxx", "xxy", "yyyy", "xxyy", "xxxy", "xx", "xyy")
OUTPUTS = (0,) * 9 + (1,) * 2


def network(dtype: str, hidden: tuple[int, ...] = (5, 6, 4)) -> tuple[PINN, np.ndarray]:
    model = PINN("xy", ("u", "v"), ((everything,),), hidden=hidden, bounds=BOUNDS, dtype=dtype)
    rng = np.random.default_rng(3)
    parameters = model.init(model.layout((2,)), rng)
    return model, (parameters + 0.2 * rng.normal(size=parameters.size)).astype(dtype)


def polynomial_twin(model: PINN, parameters: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return Taylor coefficients (outputs, 5, 5) in x and y by arithmetic of truncated polynomials.

    tanh of a polynomial is found from y' = (1 - y^2) z' along both axes, power by power.
    """
    order = 4

    def times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = np.zeros((order + 1, order + 1))
        for i in range(order + 1):
            for j in range(order + 1 - i):
                for k in range(i + 1):
                    for m in range(j + 1):
                        out[i, j] += a[k, m] * b[i - k, j - m]
        return out

    def tanh(z: np.ndarray) -> np.ndarray:
        # Newton's iteration on artanh(y) = z doubles the correct powers in each round.
        small = z.copy()
        small[0, 0] = 0.0
        y0 = np.tanh(z[0, 0])
        t, power = np.zeros_like(z), np.eye(1, (order + 1) ** 2).reshape(z.shape)
        odd = (1.0, -1 / 3)  # tanh(h) = h - h^3/3 + ...
        power = small
        for factor in odd:
            t += factor * power
            power = times(times(power, small), small)
        # tanh(z0 + h) = (y0 + t) / (1 + y0 t)
        below = y0 * t
        inverse, term = np.zeros_like(z), np.zeros_like(z)
        term[0, 0] = 1.0
        for _ in range(order + 1):
            inverse += term
            term = -times(term, below)
        above = t.copy()
        above[0, 0] += y0
        return times(above, inverse)

    inputs = []
    for axis, (low, high) in enumerate(BOUNDS):
        each = np.zeros((order + 1, order + 1))
        each[0, 0] = (point[axis] - (low + high) / 2) * 2 / (high - low)
        each[(1, 0) if axis == 0 else (0, 1)] = 2 / (high - low)
        inputs.append(each)
    values = np.array(inputs)
    views = list(model.layout((2,)).views(parameters.astype(np.float64)).values())
    for layer in range(len(views) // 2):
        values = np.tensordot(views[2 * layer], values, axes=1)
        values[:, 0, 0] += views[2 * layer + 1]
        if layer < len(views) // 2 - 1:
            values = np.array([tanh(each) for each in values])
    return values


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 2e-3)])
def test_derivatives_are_those_of_truncated_polynomials(dtype: str, tolerance: float) -> None:
    model, parameters = network(dtype)
    found = model.evaluate(everything, parameters, POINTS)
    for row, point in enumerate(POINTS):
        twin = polynomial_twin(model, parameters, point)
        for result, (name, output) in enumerate(zip(NAMES, OUTPUTS, strict=True)):
            i, j = name.count("x"), name.count("y")
            factor = np.prod(np.arange(1, i + 1)) * np.prod(np.arange(1, j + 1))
            expected = factor * twin[output, i, j]
            assert found[result, row] == pytest.approx(expected, rel=tolerance, abs=tolerance), name


@pytest.mark.slow
def test_derivatives_are_slopes_of_lower_ones() -> None:
    model, parameters = network("float64")
    step = 1e-5
    of = {name: place for place, name in enumerate(NAMES) if OUTPUTS[place] == 0}
    found = model.evaluate(everything, parameters, POINTS)
    for higher, lower, axis in (("x", "", 0), ("xy", "x", 1), ("xxx", "xx", 0), ("xxyy", "xxy", 1)):
        if lower not in of:
            continue
        moved = np.zeros(2)
        moved[axis] = step
        above = model.evaluate(everything, parameters, POINTS + moved)[of[lower]]
        below = model.evaluate(everything, parameters, POINTS - moved)[of[lower]]
        slopes = (above - below) / (2 * step)
        np.testing.assert_allclose(found[of[higher]], slopes, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("orders", [(1,), (2,), (3,), (4,), (2, 0, 1), (4, 3), (0,)])
def test_the_way_back_is_the_slope_of_the_way_there(orders: tuple[int, ...]) -> None:
    """Of the sum of jets, each times a number, by the jets that come in: finite differences."""
    rng, size = np.random.default_rng(1), 6
    channels, along = 1 + sum(orders), np.array(orders)
    z, factors = rng.normal(size=(2, channels * size))

    def total(given: np.ndarray) -> float:
        inner, out = given.copy(), np.empty_like(given)
        jets.tanh_forward(inner, out, along, size)
        return float(out @ factors)

    inner, bar = z.copy(), factors.copy()
    jets.tanh_forward(inner, np.empty_like(z), along, size)
    jets.tanh_backward(inner, bar, along, size)
    step = 1e-6
    for place in range(z.size):
        moved = np.zeros(z.size)
        moved[place] = step
        slope = (total(z + moved) - total(z - moved)) / (2 * step)
        assert bar[place] == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.slow
def test_derivatives_are_those_of_jax() -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    model, parameters = network("float64")
    views = list(model.layout((2,)).views(parameters).values())
    bounds = np.array(BOUNDS)

    def answer(x, y):  # type: ignore[no-untyped-def]
        values = jax.numpy.stack([x, y])
        values = (values - bounds.mean(axis=1)) * 2 / (bounds[:, 1] - bounds[:, 0])
        for layer in range(len(views) // 2):
            values = views[2 * layer] @ values + views[2 * layer + 1]
            if layer < len(views) // 2 - 1:
                values = jax.numpy.tanh(values)
        return values

    found = model.evaluate(everything, parameters, POINTS)
    for result, (name, output) in enumerate(zip(NAMES, OUTPUTS, strict=True)):
        function = lambda x, y, output=output: answer(x, y)[output]  # noqa: E731
        for by in name:
            function = jax.grad(function, argnums="xy".index(by))
        expected = [function(*map(float, point)) for point in POINTS]
        np.testing.assert_allclose(found[result], expected, rtol=1e-9, atol=1e-10)
