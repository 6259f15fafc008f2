"""A trained model: its parameters, how it got them, and what it says of other data."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ooc import checkpoint
from ooc.dataset import Dataset
from ooc.engines import scoring_bytes
from ooc.errors import InputError
from ooc.loader import Batch, Loader
from ooc.memory import format_size
from ooc.metrics import Progress, Report, silent
from ooc.models import from_config
from ooc.models.base import Layout, Measured, Model
from ooc.plan import budget_of
from ooc.process import peak_bytes
from ooc.writer import Field, create

# Rows that are scored at a time: their bytes, so that wide rows do not break the budget.
SCORED_BYTES = 2 * 2**20


@dataclass(frozen=True)
class Run:
    """What training left.

    Attributes
    ----------
    model, layout
        The model, and where its parts lie in the vector.
    parameters
        Flat float32 vector; ``layout.views(parameters)`` names its parts.
    history
        One entry for each window of training.
    results
        The run's numbers, under the keys of the command line's JSON.
    row_shape
        Shape of one row of features.
    """

    model: Model
    layout: Layout
    parameters: np.ndarray
    row_shape: tuple[int, ...]
    history: Sequence[Mapping[str, Any]] = field(default_factory=list, repr=False)
    results: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def evaluate(
        self, dataset: Dataset, memory: str | int = "1GiB", report: Report = silent
    ) -> dict[str, Any]:
        """Measure the mean loss, and the accuracy where there are labels, in one pass.

        Parameters
        ----------
        dataset
            Rows with targets; weights count where they are there.
        memory
            Bytes that the whole process may use.
        report
            Called as rows are done.

        Returns
        -------
        dict
            "loss", "accuracy" (None without labels), "rows", "seconds" and the memory keys.
        """
        if self.model.needs_target and dataset.target is None:
            raise InputError(
                f"{dataset.path} has no targets to compare with; name them with target="
            )
        if self.model.needs_target:
            self.model.check_target(dataset.arrays[str(dataset.target)].shape[1:])
        totals = Measured()
        loader = self._loader(dataset, memory, with_target=True)
        begun = time.perf_counter()
        for batch in _reported(loader, report):
            totals.add(self.model.measure(self.parameters, batch))
        seconds = time.perf_counter() - begun
        accuracy = totals.correct / totals.weight
        return {
            "rows": totals.rows,
            "seconds": seconds,
            "rows_per_second": totals.rows / seconds,
            "bytes_per_second": totals.rows * loader.plan.row_bytes / seconds,
            "loss": totals.loss / totals.weight,
            "accuracy": None if np.isnan(accuracy) else accuracy,
            "memory_budget_bytes": loader.plan.budget,
            "memory_projected_bytes": loader.plan.projected,
            "memory_peak_bytes": peak_bytes(),
        }

    def predict(
        self, dataset: Dataset, output: str = "prediction", memory: str | int = "1GiB"
    ) -> np.ndarray:
        """Return one of the model's outputs for every row, in memory.

        Raises
        ------
        InputError
            If the result would take more than a quarter of the memory: use `predict_to`.
        """
        loader = self._loader(dataset, memory, with_target=False)
        parts: list[np.ndarray] = []
        for batch in loader:
            outputs = self.model.predict(self.parameters, batch.features)
            if output not in outputs:
                known = ", ".join(outputs)
                raise InputError(f"the model has no output {output!r}; it has: {known}")
            parts.append(outputs[output])
            size = parts[0].nbytes // len(parts[0]) * dataset.rows
            if size > budget_of(memory) // 4:
                raise InputError(
                    f"predictions for {dataset.rows} rows take {format_size(size)}, over a quarter "
                    f"of the memory of {format_size(budget_of(memory))}; write them with predict_to"
                )
        return np.concatenate(parts)

    def predict_to(
        self,
        dataset: Dataset,
        path: str | Path,
        memory: str | int = "1GiB",
        report: Report = silent,
    ) -> dict[str, Any]:
        """Write every output of the model for every row to a new dataset at `path`.

        Returns
        -------
        dict
            "rows", "seconds", "arrays" and the memory keys.
        """
        loader = self._loader(dataset, memory, with_target=False)
        nothing = np.zeros((1, *self.row_shape), dataset.arrays[dataset.features].dtype)
        fields = {
            name: Field(values.dtype.name, values.shape[1:])
            for name, values in self.model.predict(self.parameters, nothing).items()
        }
        begun = time.perf_counter()
        with create(path, fields) as writer:
            for batch in _reported(loader, report):
                writer.append(self.model.predict(self.parameters, batch.features))
        return {
            "rows": dataset.rows,
            "seconds": time.perf_counter() - begun,
            "arrays": list(fields),
            "memory_budget_bytes": loader.plan.budget,
            "memory_projected_bytes": loader.plan.projected,
            "memory_peak_bytes": peak_bytes(),
        }

    def save(self, run_dir: str | Path, state: np.ndarray, notes: Mapping[str, Any]) -> None:
        """Save the run; `load` reads it back.

        Parameters
        ----------
        run_dir
            An existing directory.
        state
            Optimizer state.
        notes
            What else to keep, JSON-ready: the plan, the position, the dataset.
        """
        description = {
            "model": self.model.to_config(),
            "row_shape": list(self.row_shape),
            "results": dict(self.results),
            "history": list(self.history),
            **notes,
        }
        checkpoint.save(Path(run_dir), self.parameters, state, description)

    def _loader(self, dataset: Dataset, memory: str | int, with_target: bool) -> Loader:
        spec = dataset.arrays[dataset.features]
        if spec.shape[1:] != self.row_shape:
            raise InputError(
                f"the model was trained on rows of shape {self.row_shape}, but {dataset.features} "
                f"of {dataset.path} has rows of shape {spec.shape[1:]}"
            )
        roles = (dataset.features, dataset.target, dataset.weight) if with_target else (spec.name,)
        return Loader(
            dataset,
            max(1, min(dataset.rows, SCORED_BYTES // spec.row_bytes)),
            memory,
            shuffle="none",
            arrays=[name for name in roles if name is not None],
            model_bytes=2 * self.parameters.nbytes + scoring_bytes(self.model, self.layout),
            batch_copies=8,
        )


def load(run_dir: str | Path) -> Run:
    """Read a saved run.

    Raises
    ------
    InputError
        If there is none, it is damaged, or its parameters are not those of its model.
    """
    parameters, _, description = checkpoint.load(Path(run_dir))
    model = from_config(description["model"])
    row_shape = tuple(description["row_shape"])
    layout = model.layout(row_shape)
    if parameters.shape != (layout.size,):
        raise InputError(
            f"the run in {run_dir} holds {parameters.size} parameters, but its {model.name} for "
            f"rows of shape {row_shape} has {layout.size}; its run.json was changed, train it again"
        )
    return Run(model, layout, parameters, row_shape, description["history"], description["results"])


def _reported(loader: Loader, report: Report) -> Iterator[Batch]:
    """Yield the loader's batches and report about each fiftieth."""
    begun, rows = time.perf_counter(), 0
    for number, batch in enumerate(loader):
        yield batch
        rows += len(batch.rows)
        if number % 50 == 0 or rows == loader.plan.order.epoch_rows:
            report(
                Progress(
                    rows=rows,
                    total_rows=loader.plan.order.epoch_rows,
                    bytes=rows * loader.plan.row_bytes,
                    seconds=time.perf_counter() - begun,
                    memory_budget_bytes=loader.plan.budget,
                )
            )
