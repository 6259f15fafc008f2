"""Every loss of the table: slopes by finite differences, subgradients, naive twins, refusals."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import huber, xlogy
from sklearn.metrics import hinge_loss, log_loss, mean_pinball_loss, mean_poisson_deviance

from ooc.core.compiler import lean_kernel
from ooc.core.errors import InputError
from ooc.kernels.counters import BAD_TARGET, BAD_WEIGHT, NOT_FINITE, OK
from ooc.kernels.losses import COUNTS, LABELS, LOSSES, loss_constant, target_is_valid
from ooc.kernels.share import BAD, PointLoss, call_loss

POINTWISE = [name for name, loss in LOSSES.items() if loss.pair is not None]
CONSTANTS = {"huber": 1.5, "quantile": 0.8, "epsilon_insensitive": 0.25}
TWINS: dict[str, Callable[[float, float], float]] = {
    "squared": lambda p, t: 0.5 * (p - t) ** 2,
    "logistic": lambda p, t: -t * math.log(_sigmoid(p)) - (1 - t) * math.log(1 - _sigmoid(p)),
    "hinge": lambda p, t: max(0, 1 - p) if t else max(0, 1 + p),
    "squared_hinge": lambda p, t: (max(0, 1 - p) if t else max(0, 1 + p)) ** 2,
    "huber": lambda p, t: float(huber(1.5, p - t)),
    "quantile": lambda p, t: max(0.8 * (t - p), 0.2 * (p - t)),
    "poisson": lambda p, t: math.exp(p) - t * p,
    "epsilon_insensitive": lambda p, t: max(0, abs(p - t) - 0.25),
}
predictions = st.floats(-20, 20)
# The kinks of all losses are among the differences of these.
round_numbers = st.sampled_from([-1.5, -1.0, -0.25, 0.0, 0.25, 1.0, 1.25, 1.5, 2.5])


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def constant_of(name: str) -> float:
    return CONSTANTS.get(name, loss_constant(name))


def targets_of(name: str) -> st.SearchStrategy[float]:
    if LOSSES[name].rule == LABELS:
        return st.sampled_from([0.0, 1.0])
    if LOSSES[name].rule == COUNTS:
        return st.floats(0, 20)
    return st.floats(-20, 20) | round_numbers


def pair(name: str, prediction: float, target: float) -> tuple[float, float]:
    return LOSSES[name].pair(prediction, target, constant_of(name))  # type: ignore[misc]


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("name", POINTWISE)
@given(data=st.data())
def test_the_derivative_is_the_slope_of_the_value(name: str, data: st.DataObject) -> None:
    """Where the slopes of both sides agree; at a kink it is one of those between them."""
    prediction, target = data.draw(predictions), data.draw(targets_of(name))
    step, (value, slope) = 1e-5, pair(name, prediction, target)
    above, below = (pair(name, prediction + side, target)[0] for side in (step, -step))
    sides = sorted([(above - value) / step, (value - below) / step])
    room = 1e-5 * max(1, abs(slope)) + 1e-5 * abs(value)
    assert sides[0] - room <= slope <= sides[1] + room
    # A curvature of up to that of exp(20) bends the slope within the step.
    assume(sides[1] - sides[0] < 1e-4 * max(1, abs(slope)))
    assert slope == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-5 + 1e-9 * value)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", POINTWISE)
@given(data=st.data())
def test_the_derivative_is_a_subgradient_everywhere(name: str, data: st.DataObject) -> None:
    """The loss is nowhere below its tangent, also where that is drawn at a kink."""
    places = st.floats(-6, 6) | round_numbers
    place, other, target = data.draw(places), data.draw(places), data.draw(targets_of(name))
    value, slope = pair(name, place, target)
    tangent = value + slope * (other - place)
    assert pair(name, other, target)[0] >= tangent - 1e-9 * (1 + abs(tangent))


@pytest.mark.parametrize(
    ("name", "place", "found"),
    [
        ("hinge", 1.0, (0.0, 0.0)),
        ("squared_hinge", 1.0, (0.0, 0.0)),
        ("quantile", 1.0, (0.0, 0.0)),
        ("epsilon_insensitive", 1.25, (0.0, 0.0)),
        ("huber", 2.5, (0.5 * 1.5**2, 1.5)),
    ],
)
def test_a_kink_has_the_slope_of_its_flat_side(
    name: str, place: float, found: tuple[float, float]
) -> None:
    """Nothing is learned from a row that is just good enough; Huber's two sides meet."""
    assert pair(name, place, 1.0) == found


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("name", TWINS)
@given(data=st.data())
def test_the_value_is_that_of_a_naive_twin(name: str, data: st.DataObject) -> None:
    prediction, target = data.draw(predictions), data.draw(targets_of(name))
    expected = TWINS[name](prediction, target)
    assert pair(name, prediction, target)[0] == pytest.approx(expected, rel=1e-6, abs=1e-8)


@lean_kernel
def over(
    address: int,
    scores: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    loss: PointLoss,
    total: np.ndarray,
    report: np.ndarray,
) -> int:
    return call_loss(address, (scores, targets, weights, loss, total, report))


def over_rows(
    name: str,
    scores: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None = None,
    class_weights: np.ndarray | None = None,
) -> tuple[int, int, float, np.ndarray]:
    """Return status, bad row, summed loss and derivatives of a share, as kernels ask for them."""
    loss, found, total, report = LOSSES[name], scores.copy(), np.zeros(1), np.zeros(2, np.int64)
    given = np.empty(0) if class_weights is None else np.asarray(class_weights, np.float64)
    point = PointLoss(loss.pair_address(), loss.rule, constant_of(name), given)
    weights = np.empty(0) if weights is None else weights
    status = over(
        loss.rows_address(scores.dtype), found, targets.astype(scores.dtype),
        weights.astype(scores.dtype), point, total, report,
    )  # fmt: skip
    return status, int(report[BAD]), float(total[0]), found


def rows_of(name: str, rng: np.random.Generator, rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (rows, 3), float64, and targets."""
    loss, scores = LOSSES[name], rng.standard_normal((rows, 3))
    if loss.pair is None:
        return scores, rng.integers(0, 3, (rows, 1)).astype(float)
    if loss.rule == LABELS:
        return scores, rng.integers(0, 2, (rows, 3)).astype(float)
    if loss.rule == COUNTS:
        return scores, rng.poisson(2, (rows, 3)).astype(float)
    return scores, rng.standard_normal((rows, 3))


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_rows_has_the_slopes_of_its_sum(
    name: str, weighted: bool, rng: np.random.Generator
) -> None:
    """By central differences in float64; float32 agrees with it."""
    scores, targets = rows_of(name, rng)
    weights = rng.random(40) if weighted else None
    status, _, total, found = over_rows(name, scores, targets, weights)
    assert status == OK
    for place in np.ndindex(scores.shape):
        ends = []
        for sign in (1, -1):
            moved = scores.copy()
            moved[place] += sign * 1e-6
            ends.append(over_rows(name, moved, targets, weights)[2])
        assert found[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7)
    single = over_rows(name, scores.astype(np.float32), targets.astype(np.float32), weights)
    assert single[2] == pytest.approx(total, rel=1e-5)
    np.testing.assert_allclose(single[3], found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TWINS)
def test_the_loss_of_rows_is_the_weighted_sum_of_twins(name: str, rng: np.random.Generator) -> None:
    scores, targets = rows_of(name, rng)
    weights = rng.integers(0, 4, 40).astype(float)
    each = [
        sum(TWINS[name](p, t) for p, t in zip(*row, strict=True))
        for row in zip(scores.tolist(), targets.tolist(), strict=True)
    ]
    assert over_rows(name, scores, targets, weights)[2] == pytest.approx(weights @ each, rel=1e-9)


def test_means_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    scores, numbers = rng.standard_normal((2, 300)) * 2
    labels, counts = (numbers > 0).astype(float), rng.poisson(3, 300).astype(float)
    weights = rng.random(300)

    def mean(name: str, targets: np.ndarray) -> float:
        return over_rows(name, scores[:, None], targets[:, None])[2] / 300

    assert mean("hinge", labels) == pytest.approx(hinge_loss(labels, scores))
    assert mean("quantile", numbers) == pytest.approx(mean_pinball_loss(numbers, scores, alpha=0.8))
    assert mean("logistic", labels) == pytest.approx(log_loss(labels, 1 / (1 + np.exp(-scores))))
    deviance = mean_poisson_deviance(counts, np.exp(scores))
    saturated = np.mean(counts - xlogy(counts, counts))
    assert 2 * (mean("poisson", counts) - saturated) == pytest.approx(deviance)
    classes, many = rng.integers(0, 4, 300), rng.standard_normal((300, 4))
    chances = np.exp(many) / np.exp(many).sum(axis=1, keepdims=True)
    expected = log_loss(classes, chances, sample_weight=weights, normalize=False)
    assert over_rows("softmax", many, classes[:, None], weights)[2] == pytest.approx(expected)


@pytest.mark.parametrize("name", [name for name in LOSSES if LOSSES[name].rule == LABELS])
def test_class_weights_are_weights_of_rows(name: str, rng: np.random.Generator) -> None:
    given_weights, (scores, targets) = np.array([0.5, 3.0]), rows_of(name, rng)
    scores, targets, weights = scores[:, :1], targets[:, :1], rng.random(40)
    by_row = weights * given_weights[targets[:, 0].astype(int)]
    expected = over_rows(name, scores, targets, by_row)
    found = over_rows(name, scores, targets, weights, given_weights)
    assert found[2] == pytest.approx(expected[2], rel=1e-12)
    np.testing.assert_allclose(found[3], expected[3], rtol=1e-12)


def test_class_weights_of_softmax_are_weights_of_rows(rng: np.random.Generator) -> None:
    given_weights, (scores, targets) = np.array([0.5, 0.0, 3.0]), rows_of("softmax", rng)
    expected = over_rows("softmax", scores, targets, given_weights[targets[:, 0].astype(int)])
    found = over_rows("softmax", scores, targets, None, given_weights)
    assert found[2] == pytest.approx(expected[2], rel=1e-12)
    np.testing.assert_allclose(found[3], expected[3], rtol=1e-12)


@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_row_that_cannot_be_used_is_named(name: str, real: str, rng: np.random.Generator) -> None:
    scores, targets = (array.astype(real) for array in rows_of(name, rng))
    bad = {math.nan, math.inf, -math.inf}
    if LOSSES[name].pair is None:
        bad |= {-1.0, 0.5, 3.0}
    elif LOSSES[name].rule == LABELS:
        bad |= {-1.0, 0.5, 2.0}
    elif LOSSES[name].rule == COUNTS:
        bad |= {-1.0}
    for value in bad:
        wrong = targets.copy()
        wrong[33, -1] = value
        assert over_rows(name, scores, wrong)[:2] == (BAD_TARGET, 33)
    for value in (math.nan, math.inf, -math.inf):
        wrong = scores.copy()
        wrong[21, 1] = value
        assert over_rows(name, wrong, targets)[:2] == (NOT_FINITE, 21)
    for value in (math.nan, math.inf, -1.0):
        weights = np.ones(40)
        weights[7] = value
        assert over_rows(name, scores, targets, weights)[:2] == (BAD_WEIGHT, 7)


@pytest.mark.parametrize("name", POINTWISE)
def test_a_value_that_is_not_finite_is_seen(name: str) -> None:
    for value in (math.nan, math.inf, -math.inf):
        assert not target_is_valid(LOSSES[name].rule, value)
        for target in (0.0, 1.0):
            assert not math.isfinite(pair(name, value, target)[0])


@pytest.mark.parametrize("name", POINTWISE)
def test_targets_are_labels_counts_or_numbers(name: str) -> None:
    loss = LOSSES[name]
    valid = [target_is_valid(loss.rule, target) for target in (0.0, 1.0, 2.5, -1.0)]
    words = {"labels 0 and 1": [True, True, False, False], "finite numbers": [True] * 4}
    assert valid == words.get(loss.targets, [True, True, True, False])
    assert (loss.rule == LABELS) == (loss.targets == "labels 0 and 1")


def test_logistic_neither_overflows_nor_loses_small_values() -> None:
    assert pair("logistic", 1e4, 0.0) == (1e4, 1.0)
    value, derivative = pair("logistic", 40.0, 1.0)
    assert value == pytest.approx(math.exp(-40), rel=1e-12)
    assert derivative == pytest.approx(-math.exp(-40), abs=1e-16)


def test_softmax_neither_overflows_nor_loses_small_values() -> None:
    scores = np.array([[1e4, 0.0, -1e4], [700.0, 699.0, 0.0]])
    _, _, total, found = over_rows("softmax", scores, np.array([[2.0], [0.0]]))
    assert total == pytest.approx(2e4 + math.log1p(math.exp(-1)), rel=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_a_constant_out_of_range_is_refused(name: str) -> None:
    low, high = LOSSES[name].bounds
    if LOSSES[name].constant is None:
        assert loss_constant(name) == 0.0
        with pytest.raises(InputError, match=f"{name} loss has no constant"):
            loss_constant(name, 1.0)
        return
    assert low < loss_constant(name) == LOSSES[name].constant < high
    for constant in (low, low - 0.1, high, math.nan):
        with pytest.raises(InputError, match=f"the constant of the {name} loss must be above 0"):
            loss_constant(name, constant)


@pytest.mark.parametrize("name", POINTWISE)
def test_a_loss_is_smooth_where_its_slope_never_jumps(name: str) -> None:
    """Tried on both sides of every kink that there is."""
    places = np.linspace(-3, 3, 49)
    jumps = [
        abs(pair(name, place + 1e-9, target)[1] - pair(name, place - 1e-9, target)[1])
        for place in places.tolist()
        for target in (0.0, 1.0)
    ]
    assert (max(jumps) < 1e-6) == LOSSES[name].smooth


@pytest.mark.parametrize(
    ("name", "constant", "message"),
    [
        ("squared", 2.0, "the squared loss has no constant, but 2.0 was given for it"),
        (
            "quantile",
            1.0,
            "the constant of the quantile loss must be above 0 and below 1, not 1.0; the default "
            "is 0.5",
        ),
        (
            "huber",
            -1,
            "the constant of the huber loss must be above 0 and below inf, not -1.0; the default "
            "is 1.35",
        ),
        (
            "epsilon_insensitive",
            0,
            "the constant of the epsilon_insensitive loss must be above 0 and below inf, not 0.0; "
            "the default is 0.1",
        ),
    ],
)
def test_the_bounds_of_a_constant_are_told(name: str, constant: float, message: str) -> None:
    with pytest.raises(InputError) as refused:
        loss_constant(name, constant)
    assert str(refused.value) == message
