"""Methods: what is asked of the data, beside the optimizers that take steps."""

import json

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.optim import FULL_GRADIENT, OPTIMIZERS, as_method, cg, hybrid, lbfgs, method_from_config
from ooc.optim.schedules import constant


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
