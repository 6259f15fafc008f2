"""Every combination of an optimizer's settings, by name."""

import itertools
from collections.abc import Mapping, Sequence

from ooc.core.errors import InputError
from ooc.optim import OPTIMIZERS, Optimizer
from ooc.optim.named import make_named
from ooc.optim.schedules import UNCHANGED, Schedule


def grid(
    optimizers: Sequence[str],
    lr: Sequence[float],
    l2: Sequence[float] = (0.0,),
    l1: Sequence[float] = (0.0,),
    schedule: Schedule = UNCHANGED,
) -> Mapping[str, Optimizer]:
    """Return an optimizer for each combination; its name tells what varies.

    An optimizer's own numbers may follow its name, as in "adam:0.9,0.99".

    Raises
    ------
    InputError
        If there is no such optimizer, or a setting is out of range or given twice.

    Examples
    --------
    >>> list(grid(["sgd"], lr=[0.1, 1.0], l2=[0.0, 1e-6]))
    ['lr=0.1,l2=0', 'lr=0.1,l2=1e-06', 'lr=1,l2=0', 'lr=1,l2=1e-06']
    """
    axes = {"optimizer": optimizers, "lr": lr, "l2": l2, "l1": l1}
    for axis, values in axes.items():
        if len(set(values)) < len(values):
            raise InputError(f"{axis} has the same value twice: {', '.join(map(str, values))}")
    varying = [axis for axis, values in axes.items() if axis == "lr" or len(values) > 1]
    made: dict[str, Optimizer] = {}
    for name, rate, ridge, lasso in itertools.product(optimizers, lr, l2, l1):
        told = {"optimizer": name, "lr": f"{rate:g}", "l2": f"{ridge:g}", "l1": f"{lasso:g}"}
        label = ",".join(f"{axis}={told[axis]}" for axis in varying)
        settings = {"l2": ridge, "l1": lasso, "schedule": schedule}
        made[label] = make_named("optimizer", OPTIMIZERS, name, rate, **settings)
    return made
