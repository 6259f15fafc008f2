"""A trained model read again from the folder that it was saved in."""

import operator
from pathlib import Path

import numpy as np

from ooc.core.destination import local_path
from ooc.core.errors import InputError
from ooc.models import from_config
from ooc.models.contract import Model
from ooc.models.declarations import dtype_of
from ooc.runs import checkpoint
from ooc.runs.classes import names_in
from ooc.runs.run import Run
from ooc.runs.run_directory import read_history
from ooc.runs.trained_on import TrainedOn
from ooc.store.transforms import transform_in


def load(run_dir: str | Path, model: Model | None = None) -> Run:
    """Read a saved run, its newest checkpoint that is whole.

    Parameters
    ----------
    run_dir
        A local folder.
    model
        What was trained, where it is not one of `ooc.models.MODELS`.

    Raises
    ------
    InputError
        If there is no whole run of this version and model.
    """
    run_dir = local_path(run_dir, "runs", written=False)
    arrays, description = checkpoint.load(run_dir)
    with checkpoint.understood(run_dir):
        parameters, results = arrays["parameters"], dict(description["results"])
        model = from_config(description["model"]) if model is None else model
        row_shape = tuple(map(operator.index, description["row_shape"]))
        layout, classes = model.layout(row_shape), names_in(description, "class_names")
        names = tuple(map(str, names_in(description, "feature_names")))
        noted, transform = description.get("trained_on"), transform_in(description)
        trained_on = None if noted is None else TrainedOn.from_json(noted)
        if parameters.dtype != dtype_of(model) or not np.isfinite(parameters).all():
            raise ValueError(f"parameters of type {parameters.dtype}, or not finite")
    if parameters.shape != (layout.size,):
        raise InputError(
            f"the run in {run_dir} holds {parameters.size} parameters, but its {model.name} for "
            f"rows of shape {row_shape} has {layout.size}; give the model that it was trained with"
        )
    history = list(read_history(run_dir))
    own = (model, layout, parameters, row_shape, history, results, classes, names)
    return Run(*own, trained_on, transform)
