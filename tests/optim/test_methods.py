"""Methods: what is asked of the data, beside the optimizers that take steps."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.optim import (
    FULL_GRADIENT,
    OPTIMIZERS,
    adam,
    as_method,
    cg,
    hybrid,
    lbfgs,
    method_from_config,
    sgd,
)
from ooc.optim.schedules import constant, cosine


@pytest.mark.parametrize("name", [*OPTIMIZERS, *FULL_GRADIENT])
def test_a_method_is_made_again_from_its_description(name: str) -> None:
    made = as_method({**OPTIMIZERS, **FULL_GRADIENT}[name](l2=0.1))
    assert method_from_config(json.loads(json.dumps(made.to_config()))) == made


def test_a_hybrid_keeps_the_warmup_of_its_steps() -> None:
    made = hybrid(0.1, schedule=constant(warmup=20), clip_norm=2.0)
    assert method_from_config(json.loads(json.dumps(made.to_config()))) == made
    assert (made.optimizer.schedule.warmup, made.optimizer.clip_norm) == (20, 2.0)


def test_the_record_lies_beside_the_state_of_the_steps() -> None:
    made = hybrid(0.1, kept=8)
    state = np.zeros((made.state_rows(5), 5))
    record = made.record(state)
    for part in record:
        part[...] = 1.0
    assert not state[: made.optimizer.slots].any(), "the optimizer's state is its own"
    assert record.units.shape == (5, 5)
    assert record.gradients.shape == (8, 5)


def test_what_a_method_asks_of_a_run() -> None:
    assert [each.takes_all_rows for each in (lbfgs(), cg(), hybrid(0.1))] == [True, True, False]
    with pytest.raises(InputError, match="cg takes each row once a pass"):
        cg().check(256, "balanced")
    with pytest.raises(InputError, match="hybrid begins on mini-batches"):
        hybrid(0.1).check("full", "once")
    with pytest.raises(InputError, match="method lbfgs cannot be made from"):
        method_from_config({"name": "lbfgs", "rate": None, "speed": 3})


@pytest.mark.parametrize(
    ("method", "wanted", "steps", "passes"),
    [
        (sgd(0.1), None, 1, 200),
        (sgd(0.1), None, 3, 67),
        (sgd(0.1), None, 199, 2),
        (sgd(0.1), None, 200, 1),
        (sgd(0.1), None, 5000, 1),
        (sgd(0.1), 7, 3, 7),
        (lbfgs(), None, 3, 100),
        (cg(), 2, 3, 2),
        (hybrid(0.1), None, 5000, 100),
    ],
)
def test_passes_that_are_not_told_are_enough(
    method: object, wanted: int | None, steps: int, passes: int
) -> None:
    assert as_method(method).passes(wanted, steps) == passes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: lbfgs(0.5),  # type: ignore[arg-type]
            "lbfgs finds the length of each step by a line search; leave out lr=0.5, or choose "
            "hybrid, whose first part has a learning rate",
        ),
        (lambda: cg(clip_norm=2.0), "cg needs the gradient as it is; leave out clip_norm=2.0"),
        (
            lambda: hybrid(0.1, l1=0.5),
            "hybrid needs a gradient, which an L1 penalty has not at zero; use l2= instead of "
            "l1=0.5, or an optimizer on mini-batches",
        ),
        (
            lambda: lbfgs(schedule=cosine(5)),
            "lbfgs takes no schedule but constant, not cosine: it lowers its steps by itself",
        ),
        (
            lambda: hybrid(schedule=cosine(5)),
            "hybrid takes no schedule but constant, not cosine: it lowers its steps by itself",
        ),
        (lambda: as_method(sgd(0.1)).passes(0, 5), "epochs must be at least 1, not 0"),
        (lambda: lbfgs().passes(1, 5), "epochs must be at least 2 for lbfgs, not 1"),
        (
            lambda: hybrid().check("full", "once"),
            "hybrid begins on mini-batches; give it a batch_size, or take lbfgs",
        ),
        (
            lambda: hybrid().check(64, "weight"),
            "hybrid takes each row once a pass, not sampling='weight'",
        ),
        (lambda: lbfgs(kept=7), "kept must be a whole number of at least 8, not 7"),
        (lambda: lbfgs(memory=0), "memory must be a whole number of at least 1, not 0"),
        (lambda: lbfgs(l2=-1), "l2 must be a finite number of at least 0, not -1; l2=0 is none"),
    ],
)
def test_what_a_method_cannot_use_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError) as refused:
        make()
    assert str(refused.value) == message


def test_what_a_method_can_use_is_let_through() -> None:
    as_method(sgd(0.1)).check("full", "weight")
    lbfgs().check("full", "once")
    hybrid().check(64, "once")
    assert lbfgs(l1=0.0, schedule=constant(), l2=0.5).full.l2 == 0.5  # type: ignore[union-attr]


def test_a_method_has_the_rate_schedule_and_settings_of_its_steps() -> None:
    made, steps = hybrid(0.25, l2=0.5, clip_norm=2.0), adam(0.25, l2=0.5, clip_norm=2.0)
    assert (made.rate, made.schedule, made.optimizer) == (0.25, steps.rates, steps)
    assert np.array_equal(made.settings(), steps.settings())
    assert (made.full.l2, made.full.in_units, made.full.minimiser) == (0.5, True, "L-BFGS-B")  # type: ignore[union-attr]
    assert (cg().rate, cg().schedule) == (None, constant())
    assert not cg().settings().any()
    assert as_method(made) is made
    assert made.state_rows(5) == 2 + made.full.state_rows(5)  # type: ignore[union-attr]


def test_of_many_parameters_a_method_keeps_one_vector_of_units() -> None:
    """Of few a matrix; counts and losses lie in as many vectors as they fill."""
    for parameters in (5, 512, 513, 3000):
        full = hybrid(kept=16).full
        assert full is not None
        rows = full.state_rows(parameters)
        record = full.record(np.zeros((rows, parameters)))
        assert record.units is not None
        shape = (parameters, parameters) if parameters <= 512 else (parameters,)
        assert record.units.shape == shape
        assert record.gradients.shape == (16, parameters)
        assert (record.values.shape, record.losses.shape) == ((16,), (16,))
        vectors = record.units.size // parameters + 2 + 16
        numbers = record.values.size + record.losses.size + record.head.size
        assert rows == vectors + -(-numbers // parameters)
        plain = lbfgs(kept=16).full
        assert plain is not None
        assert plain.record(np.zeros((plain.state_rows(parameters), parameters))).units is None


DEFAULTS = {
    "sgd": (), "momentum": (0.9,), "nesterov": (0.9,), "adagrad": (1e-10,),
    "rmsprop": (0.99, 1e-8), "adam": (0.9, 0.999, 1e-8), "adamw": (0.9, 0.999, 1e-8, 0.01),
    "averaged": (0.0,), "ftrl": (1.0, 0.0, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_numbers_that_are_not_given_are_those_of_its_paper(name: str) -> None:
    made = OPTIMIZERS[name]()
    assert made.constants == DEFAULTS[name]
    assert (made.rate, made.l2, made.l1, made.clip_norm) == (None, 0.0, 0.0, None)
    for full in (lbfgs().full, hybrid().full):
        assert full is not None
        assert (full.tolerance, full.kept, full.memory, full.l2) == (1e-6, 128, 10, 0.0)
    assert cg().full.memory == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("optimizer", "reach", "decay", "waits"),
    [
        (sgd(0.1), 1.0, 0.0, True),
        (OPTIMIZERS["momentum"](0.1, 0.75), 4.0, 0.0, False),
        (OPTIMIZERS["nesterov"](0.1, 0.5), 2.0, 0.0, False),
        (OPTIMIZERS["averaged"](0.1), 1.0, 0.0, False),
        (OPTIMIZERS["adam"](0.1), 0.0, 0.0, False),
        (OPTIMIZERS["adamw"](0.1), 0.0, 0.01, False),
        (OPTIMIZERS["adamw"](0.1, weight_decay=0.5), 0.0, 0.5, False),
        (OPTIMIZERS["adagrad"](0.1), 0.0, 0.0, True),
        (OPTIMIZERS["rmsprop"](0.1), 0.0, 0.0, False),
        (OPTIMIZERS["ftrl"](0.1), 0.0, 0.0, True),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_how_far_an_optimizer_walks_and_whether_it_waits(
    optimizer: object, reach: float, decay: float, waits: bool
) -> None:
    """Momentum m sums 1 / (1 - m) gradients; one whose state moves without a gradient waits not."""
    found = optimizer
    assert (found.reach, found.decay, found.waits) == (reach, decay, waits)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", FULL_GRADIENT)
def test_an_argument_that_no_method_has_is_refused(name: str) -> None:
    """As Python refuses it, and not left out in silence."""
    with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument 'speed'"):
        FULL_GRADIENT[name](l2=0.5, speed=3)
    with pytest.raises(TypeError, match=r"cg\(\) got an unexpected keyword argument 'memory'"):
        cg(memory=5)  # type: ignore[call-arg]
    saved = cg(tolerance=1e-3).to_config()
    assert saved["memory"] == 0
    assert method_from_config(saved) == as_method(cg(tolerance=1e-3))
