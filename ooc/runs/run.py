"""A trained model: its parameters, how it got them, and what it says of other data."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.audience import reporting
from ooc.core.compile_child import load_kernels
from ooc.core.errors import InputError
from ooc.core.process import memory_numbers
from ooc.core.progress import Progress, Report, tell
from ooc.core.sizes import format_size
from ooc.core.summary import Summary
from ooc.export import Trained, export_model
from ooc.models.contract import Layout, Model
from ooc.models.declarations import predictions_of
from ooc.runs.classes import labelled_as
from ooc.runs.evaluation import evaluate_batches
from ooc.runs.outputs import OF_LABELS, output_of, own_copy, predict_rows
from ooc.runs.scoring import (
    check_feature_order,
    check_scorable,
    check_targets,
    outputs_of_zeros,
    scoring_kernels,
    scoring_loader,
)
from ooc.runs.trained_on import TrainedOn
from ooc.store.addresses import StorageOptions
from ooc.store.dataset import Dataset
from ooc.store.fields import Field
from ooc.store.labels import Name, named
from ooc.store.transforms import changes_features, transformed
from ooc.store.writer import create, new_destination
from ooc.stream.batch import Batch
from ooc.stream.loader import Loader
from ooc.stream.missing_values import rule_of, void_rows, with_void
from ooc.stream.plan import held_after_run

# For a run of which nothing is known.
USUAL_MEMORY = "1GiB"


@dataclass(frozen=True, repr=False)
class Run(Summary):
    """What training left.

    Attributes
    ----------
    parameters
        Flat vector; ``layout.views(parameters)`` names its parts.
    history
        One entry for each window of training.
    results
        The run's numbers, under the keys of the command line's JSON.
    class_names
        What the classes are called whose codes the model predicts; empty where they are numbers
        from 0 on.
    feature_names
        What the features of a row are called, where the data that it was trained on say so.
    trained_on
        Which rows, and which were held out, see `held_out`.
    transform
        What is done to the features of any rows as they are read, see `ooc.open`.
    """

    model: Model
    layout: Layout
    parameters: np.ndarray
    row_shape: tuple[int, ...]
    history: Sequence[Mapping[str, Any]] = field(default_factory=list, repr=False)
    results: Mapping[str, Any] = field(default_factory=dict, repr=False)
    class_names: tuple[Name, ...] = ()
    feature_names: tuple[str, ...] = ()
    trained_on: TrainedOn | None = field(default=None, repr=False)
    transform: str = ""

    def facts(self) -> dict[str, str]:
        """Return what a prompt shows: the model, how long it was trained, and its losses."""
        found = {"model": self.model.name, "parameters": f"{self.parameters.size:,}"}
        for key in ("steps", "epochs"):
            found |= {key: f"{self.results[key]:,}"} if key in self.results else {}
        for key in ("loss", "validation_loss"):
            known = self.results.get(key) is not None
            found |= {key.replace("_", " "): f"{self.results[key]:.4g}"} if known else {}
        return found

    def evaluate(
        self,
        dataset: Dataset,
        memory: str | int | None = None,
        report: Report | bool = True,
        missing_values: str = "raise",
    ) -> dict[str, Any]:
        """Measure the mean loss and every metric that the model's answers allow, in one pass.

        Parameters
        ----------
        dataset
            Rows with targets; weights count where they are there.
        memory
            Bytes that the whole process may use; by default what training was given.
        report
            A function that is told of progress; True shows it where somebody sees it, False never.
        missing_values
            See `ooc.stream.options.StreamOptions`; "missing" then counts rows by array.

        Returns
        -------
        dict
            The metrics of `ooc.runs.evaluation.evaluate_batches`, "rows", rates and memory; and
            "trained_on_rows" where the run was trained on some of these rows.

        Raises
        ------
        InputError
            If targets are missing or do not fit, nothing fits the memory, or a row cannot be
            measured.
        """
        dataset = labelled_as(transformed(dataset, self.transform), self.class_names)
        check_targets(self.model, dataset)
        with reporting(f"evaluate {dataset.name}", report) as told:
            loader = self._loader(dataset, memory, True, told, missing_values)
            begun, rows = time.perf_counter(), dataset.rows
            found = evaluate_batches(self.model, self.parameters, _reported(loader, told))
            seconds = time.perf_counter() - begun
        if self.trained_on is not None and (known := self.trained_on.rows_in(dataset)):
            found |= {"trained_on_rows": known}
        if loader.missing:
            found |= {"skipped_rows": loader.skipped_rows, "missing": loader.missing}
        if self.class_names:
            found |= {"class_names": list(self.class_names)}
        return {
            "rows": rows,
            "seconds": seconds,
            "rows_per_second": rows / seconds,
            "bytes_per_second": rows * loader.plan.row_bytes / seconds,
            **found,
            **memory_numbers(loader.plan.budget, loader.plan.projected),
        }

    def held_out(self, dataset: Dataset | None = None) -> Dataset:
        """Return the rows that were kept apart from training, for `evaluate` in the end.

        They are of the dataset of the run, which is opened by its path, unless it is given. Of
        rows that were split into more than two parts, they are the last one.

        Raises
        ------
        InputError
            If none were, or nothing is known of the run's rows.
        """
        if self.trained_on is None:
            raise InputError(
                "nothing is known of the rows that this run was trained on; name the rows to use"
            )
        return self.trained_on.held_out_of(dataset, self.transform)

    def predict(
        self,
        dataset: Dataset | np.ndarray,
        output: str = "prediction",
        memory: str | int | None = None,
        missing_values: str = "raise",
        report: Report | bool = True,
    ) -> np.ndarray:
        """Return one of the model's outputs for every row.

        Parameters
        ----------
        dataset
            What `ooc.open` returned, or an array (rows, ...) of numbers, of the shape of rows that
            the model was trained on; it is scored a few rows at a time.
        output
            "prediction", another one that the model names, or "scores": what they are made of.
            A prediction of a class with a name is that name.
        memory
            Of a dataset: bytes that the process may use, by default what training was given;
            outputs may take a quarter of them.
        missing_values
            Of a dataset, see `ooc.stream.options.StreamOptions`. With "drop", the output of a row
            that lacks a value is NaN, or -1 of whole numbers.
        report
            Of a dataset, see `evaluate`.

        Raises
        ------
        InputError
            If rows have another shape or are no numbers, the model has no such output, or outputs
            take too much memory.

        Examples
        --------
        >>> from ooc.models import Linear
        >>> model = Linear(standardise=False, standardise_target=False)
        >>> run = Run(model, model.layout((2,)), np.float32([1, 2, 3]), (2,))
        >>> run.predict(np.array([[0, 0], [1, 10]]))
        array([ 3., 24.], dtype=float32)
        """
        if not isinstance(dataset, Dataset):
            if changes_features(self.transform):
                raise InputError(
                    f"this run transforms rows as they are read (transform {self.transform}), and "
                    "an array is not read; write it by ooc.create, and give what ooc.open returns"
                )
            found = predict_rows(self.model, self.parameters, self.row_shape, dataset, output)
            return self._named(found, output)
        parts: list[np.ndarray] = []
        dataset = transformed(dataset, self.transform)
        with reporting(f"predict {dataset.name}", report) as told:
            loader = self._loader(dataset, memory, False, told, missing_values)
            batches, budget = _reported(loader, told), loader.plan.budget
            for outputs in self._predictions(loader, batches, missing_values, output):
                parts.append(outputs[output])
                size = parts[0].nbytes // len(parts[0]) * dataset.rows
                if size > budget // 4:
                    raise InputError(
                        f"predictions for {dataset.rows} rows take {format_size(size)}, over a "
                        f"quarter of the memory of {format_size(budget)}; write them with "
                        "predict_to"
                    )
        return self._named(np.concatenate(parts), output)

    def predict_to(
        self,
        dataset: Dataset,
        path: str | Path,
        memory: str | int | None = None,
        report: Report | bool = True,
        missing_values: str = "raise",
        storage_options: StorageOptions | None = None,
    ) -> dict[str, Any]:
        """Write every output of the model for every row to a new dataset at `path`.

        That is a local path, or a URL with `storage_options`, as `ooc.create` takes them.

        Returned are "rows", "seconds", "arrays" and memory, and "missing" where rows lacked a
        value. With `missing_values` "drop" such rows are there, as `predict` gives them. `report`
        is that of `evaluate`. Classes are written as codes; what those are called stands in the
        group's attribute "class_names".
        """
        place = new_destination(path, storage_options)
        dataset = transformed(dataset, self.transform)
        with reporting(f"predict {dataset.name}", report) as told:
            beside = place.buffer_bytes
            loader = self._loader(dataset, memory, False, told, missing_values, beside)
            zeros = outputs_of_zeros(self.model, self.layout, dataset)
            fields = {
                name: Field(values.dtype.name, values.shape[1:]) for name, values in zeros.items()
            }
            begun = time.perf_counter()
            names = list(self.class_names)
            attributes = {"classes": len(names), "class_names": names} if names else {}
            with create(place, fields, attributes) as writer:
                batches = _reported(loader, told)
                for outputs in self._predictions(loader, batches, missing_values):
                    writer.append(outputs)
            seconds = time.perf_counter() - begun
        return {
            "rows": dataset.rows,
            "seconds": seconds,
            "arrays": list(fields),
            **({"missing": loader.missing} if loader.missing else {}),
            **memory_numbers(loader.plan.budget, loader.plan.projected),
        }

    def export(
        self,
        path: str | PathLike[str],
        *,
        feature_names: Sequence[Any] | None = None,
        class_names: Sequence[Any] | None = None,
        input_dtype: str | None = None,
    ) -> Path:
        """Write the model for other programs, in the format that the path's suffix names.

        - ``.onnx``: models made of dense layers, with standardisation and the names of classes;
          outputs are those of `predict`, equal to about 1e-5;
        - ``.json`` and ``.csv``: coefficients of a linear model by the names of features, as they
          are before anything is standardised;
        - ``.safetensors``: all parts of the parameters, and what the model is.

        Parameters
        ----------
        path
            A local file that is not there yet.
        feature_names, class_names
            One for each; by default what they are called in the data, or x0, x1 and so on.
        input_dtype
            What an ONNX model takes rows as, by default float32.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InputError
            If the suffix is none of these, the file is there already, names do not fit, the model
            has no such form, or a package is missing.
        """
        if changes_features(self.transform) and Path(path).suffix == ".onnx":
            raise InputError(
                f"an ONNX model takes rows as they are, and this run's are read with transform "
                f"{self.transform}; write its parameters to .safetensors, .json or .csv"
            )
        names = (
            self.feature_names if feature_names is None else feature_names,
            self.class_names if class_names is None else class_names,
        )
        own = (self.model, self.layout, self.parameters, self.row_shape)
        return export_model(Trained(*own, *names, input_dtype), path)

    def _named(self, found: np.ndarray, output: str) -> np.ndarray:
        """Return predictions of classes by their names, and other outputs as they are."""
        is_named = bool(self.class_names) and output in OF_LABELS
        return named(found, self.class_names) if is_named else found

    def _predictions(
        self,
        loader: Loader,
        batches: Iterable[Batch],
        missing_values: str,
        output: str | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield outputs of batches, or one; where rows are dropped, theirs are there, and void."""
        drops = rule_of(missing_values).name == "drop"
        for batch in batches:
            lacks = void_rows(batch.arrays, loader.missing) if drops else None
            outputs = (
                predictions_of(self.model, self.parameters, batch)
                if output is None
                else {output: output_of(self.model, self.parameters, batch, output)}
            )
            # A batch's memory is soon that of other rows.
            outputs = {name: own_copy(values, batch) for name, values in outputs.items()}
            if lacks is not None:
                for name, values in outputs.items():
                    outputs[name] = with_void(values, lacks)
            yield outputs

    def _loader(
        self,
        dataset: Dataset,
        memory: str | int | None,
        with_target: bool,
        report: Report,
        missing_values: str,
        beside_bytes: int = 0,
    ) -> Loader:
        check_scorable(self.model, dataset, self.row_shape)
        check_feature_order(self.feature_names, dataset)
        held = held_after_run(self.parameters.nbytes) + beside_bytes
        load_kernels(scoring_kernels(self.model, dataset, with_target), report)
        # A prediction belongs to each row: those that lack a value travel to be marked.
        tell(report, "reading the first rows")
        drops = not with_target and rule_of(missing_values).name == "drop"
        how = {"missing_values": "keep" if drops else missing_values}
        if memory is None:
            memory = int(self.results.get("memory_budget_bytes", 0)) or USUAL_MEMORY
        return scoring_loader(self.model, self.layout, dataset, memory, with_target, held, **how)


def _reported(loader: Loader, report: Report) -> Iterator[Batch]:
    """Yield the loader's batches and report about each fiftieth."""
    begun, rows, plan = time.perf_counter(), 0, loader.plan
    total = plan.order.epoch_rows
    for number, batch in enumerate(loader.batches(in_place=True)):
        yield batch
        rows += len(batch.rows)
        if number % 50 == 0 or rows == total:
            seconds = time.perf_counter() - begun
            done = rows * plan.row_bytes
            report(Progress(rows, total, done, seconds, memory_budget_bytes=plan.budget))
