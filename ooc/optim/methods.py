"""Methods: what is asked of the data, and which optimizer or minimiser is told of it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Unpack

import numpy as np

from ooc.core.errors import InputError
from ooc.optim.full_gradient import CG, LBFGS, FullGradient, Record
from ooc.optim.optimizer import Common, Optimizer
from ooc.optim.optimizers import adam, optimizer_from_config
from ooc.optim.schedules import UNCHANGED, Schedule, schedule_from_config
from ooc.optim.settings import SETTINGS

# A run whose passes are not told takes at least so many steps: rows that fill a few batches are
# not learned in one pass.
USUAL_STEPS = 200


@dataclass(frozen=True)
class Method:
    """Steps on mini-batches, the gradient over all rows, or the one and then the other.

    Attributes
    ----------
    name
        The optimizer's, or its entry in `FULL_GRADIENT`.
    optimizer
        Takes steps on mini-batches; None where there are none.
    full
        Is told the gradient over all rows, in the end; None where nothing is.
    """

    name: str
    optimizer: Optimizer | None = None
    full: FullGradient | None = None

    @property
    def takes_all_rows(self) -> bool:
        """Whether every step takes all rows."""
        return self.optimizer is None

    @property
    def rate(self) -> float | None:
        """Learning rate of its optimizer, if it has one."""
        return None if self.optimizer is None else self.optimizer.rate

    @property
    def schedule(self) -> Schedule:
        """Schedule of its optimizer."""
        return UNCHANGED if self.optimizer is None else self.optimizer.rates

    def passes(self, wanted: int | None, steps: int) -> int:
        """Return how many passes over the data there are; at most, with the gradient over all rows.

        By default one, but where its `steps` are a handful, as many as `USUAL_STEPS` take.

        Raises
        ------
        InputError
            If so few are of no use.
        """
        usual, fewest = (-(-USUAL_STEPS // steps), 1) if self.full is None else (100, 2)
        if wanted is not None and wanted < fewest:
            name = "" if self.full is None else f" for {self.name}"
            raise InputError(f"epochs must be at least {fewest}{name}, not {wanted}")
        return usual if wanted is None else wanted

    def check(self, batch_size: int | str, sampling: str) -> None:
        """Refuse batches or a way of sampling that do not go with it."""
        if self.full is None:
            return
        if sampling != "once":
            raise InputError(f"{self.name} takes each row once a pass, not sampling={sampling!r}")
        if self.optimizer is not None and isinstance(batch_size, str):
            raise InputError(
                f"{self.name} begins on mini-batches; give it a batch_size, or take lbfgs"
            )

    def state_rows(self, parameters: int) -> int:
        """Return how many vectors of state there are for this many parameters."""
        return self._slots + (0 if self.full is None else self.full.state_rows(parameters))

    def record(self, state: np.ndarray) -> Record:
        """Return what its minimiser was told, of a state (state rows, P) float64, as views."""
        assert self.full is not None, "only a minimiser has a record"
        return self.full.record(state[self._slots :])

    def settings(self) -> np.ndarray:
        """Return what compiled updates read, float64 (SETTINGS,); zeros without an optimizer."""
        return np.zeros(SETTINGS) if self.optimizer is None else self.optimizer.settings()

    def solution(self, parameters: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Return what a run keeps: `parameters`, or the average that its optimizer has."""
        return parameters if self.optimizer is None else self.optimizer.solution(parameters, state)

    def to_config(self) -> dict[str, object]:
        """Return what `method_from_config` makes it from again, JSON-ready."""
        if self.full is None:
            assert self.optimizer is not None, "a method has one of them"
            return self.optimizer.to_config()
        numbers = asdict(self.full)
        del numbers["minimiser"], numbers["in_units"]
        if not numbers["dense"]:
            del numbers["dense"]
        given = {"name": self.name, "rate": self.rate, **numbers}
        if self.optimizer is not None:
            of_steps = self.optimizer.to_config()
            given |= {key: of_steps[key] for key in ("clip_norm", "schedule")}
        return given

    @property
    def _slots(self) -> int:
        return 0 if self.optimizer is None else self.optimizer.state_rows(0)


def as_method(given: Optimizer | Method) -> Method:
    """Return a method: an optimizer's is to take steps on mini-batches."""
    return given if isinstance(given, Method) else Method(given.name, given)


def lbfgs(
    lr: None = None,
    tolerance: float = 1e-6,
    kept: int = 128,
    memory: int = 10,
    dense: bool = False,
    **common: Unpack[Common],
) -> Method:
    """L-BFGS on the streamed full gradient (SciPy's L-BFGS-B: Byrd, Lu, Nocedal and Zhu 1995).

    Each evaluation is one pass over the data, and each iteration takes one of them, seldom two.
    An L2 penalty is part of the objective.

    Parameters
    ----------
    lr
        There is none to give: a line search finds the length of each step.
    tolerance
        Norm of the gradient at which the run is done.
    kept
        Evaluations that a checkpoint holds, 8 bytes a parameter each, so that a run goes on
        exactly; after so many the method begins anew, where it came to.
    memory
        Pairs of vectors from which the curvature is known.
    dense
        Whether it is kept as a whole instead, P^2 numbers of 8 bytes, by self-scaling BFGS: for
        up to a few thousand parameters whose valleys are narrow, see `ooc.engines.self_scaling`.

    Raises
    ------
    InputError
        If anything is given that it cannot use: a rate, a schedule, clipping or an L1 penalty.
    """
    return _line_search("lbfgs", lr, common, LBFGS, tolerance, kept, memory, dense)


def cg(
    lr: None = None, tolerance: float = 1e-6, kept: int = 128, **common: Unpack[Common]
) -> Method:
    """Nonlinear conjugate gradients on the streamed full gradient (SciPy's CG: Polak-Ribiere).

    Each evaluation is one pass over the data; an iteration takes about two of them. `lbfgs` says
    what its numbers are.
    """
    return _line_search("cg", lr, common, CG, tolerance, kept, memory=0)


def hybrid(
    lr: float | None = None,
    tolerance: float = 1e-6,
    kept: int = 128,
    memory: int = 10,
    dense: bool = False,
    **common: Unpack[Common],
) -> Method:
    """Adam on mini-batches, then L-BFGS on the full gradient, see `ooc.engines.hybrid_engine`.

    It switches by itself, when the gradient's signal sinks under its noise. L-BFGS then begins
    at the average of the iterates since, in units in which that noise is alike in all directions.

    Parameters
    ----------
    lr
        Adam's rate; None: from a short range test.
    tolerance, kept, memory, dense
        See `lbfgs`.
    """
    l2 = _smooth_penalty("hybrid", common)
    schedule = common.get("schedule") or UNCHANGED
    first = adam(lr, l2=l2, clip_norm=common.get("clip_norm"), schedule=schedule)
    full = FullGradient(LBFGS, tolerance, kept, memory, l2, in_units=True, dense=dense)
    return Method("hybrid", first, full)


FULL_GRADIENT: dict[str, Callable[..., Method]] = {"lbfgs": lbfgs, "cg": cg, "hybrid": hybrid}


def method_from_config(config: Mapping[str, Any]) -> Method:
    """Make a method from what its `to_config` returned, also after a way through JSON.

    Raises
    ------
    InputError
        If there is no such method, or it does not take what is said of it.
    """
    given, name = dict(config), config.get("name")
    if name not in FULL_GRADIENT:
        return as_method(optimizer_from_config(config))
    try:
        options = {key: value for key, value in given.items() if key not in ("name", "rate")}
        if "schedule" in options:
            options["schedule"] = schedule_from_config(options["schedule"])
        if options.get("memory") == 0:  # conjugate gradients have none
            del options["memory"]
        made = FULL_GRADIENT[name](given["rate"], **options)
    except (KeyError, TypeError) as error:
        raise InputError(f"method {name} cannot be made from {given}: {error}") from None
    if made.to_config().keys() != given.keys():
        wanted = ", ".join(made.to_config())
        raise InputError(f"method {name} cannot be made from {given}: it has {wanted}")
    return made


def _line_search(
    name: str, lr: object, common: Common, minimiser: str, tolerance: float, kept: int, memory: int,
    dense: bool = False,
) -> Method:  # fmt: skip
    """Return a method that takes all rows, and no rate."""
    if lr is not None:
        raise InputError(
            f"{name} finds the length of each step by a line search; leave out lr={lr}, or choose "
            "hybrid, whose first part has a learning rate"
        )
    if common.get("clip_norm") is not None:
        raise InputError(
            f"{name} needs the gradient as it is; leave out clip_norm={common['clip_norm']}"
        )
    l2 = _smooth_penalty(name, common)
    full = FullGradient(minimiser, tolerance, kept, memory, l2, dense=dense)
    return Method(name, full=full)


def _smooth_penalty(name: str, common: Common) -> float:
    """Return the L2 penalty, if nothing is given that has no gradient or changes on the way."""
    for key in common:
        if key not in Common.__annotations__:
            raise TypeError(f"{name}() got an unexpected keyword argument {key!r}")
    if common.get("l1"):
        raise InputError(
            f"{name} needs a gradient, which an L1 penalty has not at zero; use l2= instead of "
            f"l1={common['l1']}, or an optimizer on mini-batches"
        )
    schedule = common.get("schedule") or UNCHANGED
    if schedule.name != UNCHANGED.name:
        raise InputError(
            f"{name} takes no schedule but constant, not {schedule.name}: it lowers its "
            "steps by itself"
        )
    return common.get("l2", 0.0)
