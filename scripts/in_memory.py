"""Steps over rows that are in memory already, as `ooc.Trainer` takes them within a window.

No other script reaches into how windows become steps.
"""

import numpy as np

import ooc
from ooc.core.errors import InputError
from ooc.engines.engine import make_engine
from ooc.kernels.counters import LOSS_SUM
from ooc.models.train_state import start as begin
from ooc.store.dataset import Dataset
from ooc.stream.window import Window


class Steps:
    """Takes steps; one call is one compiled call.

    Parameters
    ----------
    trainer
        Model, optimizer and batch size.
    dataset
        Any store with "X" and "y" whose rows are like those in memory.
    start
        (P,) float32, where to begin.
    """

    def __init__(self, trainer: ooc.Trainer, dataset: Dataset, start: np.ndarray) -> None:
        train_state = begin((trainer.optimizer,), start)
        self._engine = make_engine(trainer.model, trainer.loader(dataset), train_state)
        self._dtypes = [dataset.arrays[name].dtype for name in ("X", "y")]
        self._windows = 0

    def take(self, x: np.ndarray, y: np.ndarray, last: bool) -> None:
        """Take the steps of these rows, in their order; the last one may be of fewer rows.

        Raises
        ------
        InputError
            If they are not of the store's types: the compiled loop reads them by address.
        """
        for values, dtype in zip((x, y), self._dtypes, strict=True):
            if values.dtype != dtype:
                raise InputError(f"rows have dtype {values.dtype}, and the store's {dtype}")
        window = Window(
            arrays={"X": x, "y": y},
            roles=("X", "y", None),
            order=np.arange(len(x), dtype=np.int32),
            start=0,
            block_starts=np.zeros(1, np.int64),
            block_rows=len(x),
            epoch=0,
            index=self._windows,
            last=last,
        )
        self._windows += 1
        self._engine.advance(window)

    @property
    def parameters(self) -> np.ndarray:
        """(P,) float32, where it is."""
        found: np.ndarray = self._engine.train_state.parameters[0]
        return found

    @property
    def rows(self) -> int:
        """Rows used so far."""
        return self._engine.rows

    @property
    def loss_sum(self) -> float:
        """Sum of the losses of these rows, each before it was learned from."""
        return float(self._engine.train_state.totals[0, LOSS_SUM])
