"""What stands before a run's first step: kernels that are compiled, and loaders that fit."""

from contextlib import suppress
from dataclasses import replace

from ooc.core.compile_child import load_kernels
from ooc.core.errors import InputError, TooSmallError
from ooc.core.hashing import hashing_kernels
from ooc.core.progress import Report, tell
from ooc.engines.engine import check_method
from ooc.engines.kernels import engine_kernels
from ooc.models.contract import Model
from ooc.models.declarations import arrays_of
from ooc.runs.classes import labelled_as
from ooc.runs.scoring import scoring_kernels, scoring_loader
from ooc.store.dataset import Dataset
from ooc.store.transforms import transformed
from ooc.stream.loader import Loader
from ooc.stream.splits import straddling_rows
from ooc.training.budget import Needs, check_fits


def compile_missing(needs: Needs, model: Model, dataset: Dataset, report: Report) -> None:
    """Have the kernels compiled that the cache lacks, before the run takes memory.

    Raises
    ------
    InputError
        If the model cannot be trained by such a method, or the budget is too small.
    """
    tell(report, "checking what fits the memory")
    takes_all = needs.full or any(method.full is not None for method in needs.methods)
    check_method(model, model.layout(dataset.row_shape), takes_all)
    # A validation's needs are known when the model has run: one refusal names all of them.
    with suppress(*[] if needs.validation is None else [TooSmallError]):
        check_fits(replace(needs, validation=None), model, dataset)
    wanted = engine_kernels(model, dataset, needs.methods, needs.largest_batch, needs.stream.lanes)
    if needs.validation is not None:
        wanted += hashing_kernels() + scoring_kernels(model, dataset)
    load_kernels(wanted, report)
    if needs.validation is not None:
        check_fits(needs, model, dataset)


def loaders_of(
    needs: Needs, model: Model, dataset: Dataset, before: Loader | None = None
) -> tuple[Loader, Loader | None]:
    """Return the loader of the rows to train on, and of those to evaluate on.

    `before` is the one of the same rows for a model that did not yet know what is in them.
    """
    names, validation = arrays_of(model, dataset), None
    if needs.validation is not None:
        dataset, held_out = needs.validation.sides(dataset, needs.stream)
        held_out = transformed(held_out, dataset.transform)
        if held_out.class_names != dataset.class_names:
            held_out = labelled_as(held_out, dataset.class_names)
        how = needs.scoring() | {"with_target": True, "held": needs.held}
        validation = scoring_loader(model, model.layout(dataset.row_shape), held_out, **how)
    if needs.full:
        needs = replace(needs, batch_size=dataset.rows, largest_batch=dataset.rows)
    if needs.largest_batch > dataset.rows:
        raise InputError(
            f"a batch of {needs.largest_batch} rows is larger than the dataset of {dataset.rows} "
            f"rows; lower the batch size to {dataset.rows} or less"
        )
    demand = needs.demand(model, dataset, None if validation is None else validation.plan)
    size, stream = needs.batch_size, needs.stream
    loader = Loader(dataset, size, arrays=names, demand=demand, stream=stream, like=before)
    return loader, validation


def tell_left_out(needs: Needs, loader: Loader, held_out: Loader | None, report: Report) -> None:
    """Tell how many rows are on no side of a validation's split, as they overlap with both."""
    if needs.validation is None or held_out is None:
        return
    sides = [loader.dataset, held_out.dataset]
    test = loader.dataset.held_out
    if test is not None and test != held_out.dataset.selection:
        sides.append(replace(loader.dataset, selection=test))
    if count := straddling_rows(*sides):
        tell(report, f"left out {count:,} rows that overlap with both sides of the split")
