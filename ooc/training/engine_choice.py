"""Which engine takes a run's steps: one of this process, or one whose lanes a cluster serves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ooc.core.errors import InputError
from ooc.engines.engine import Engine, make_engine
from ooc.engines.synchronisation import EVERY_STEP, Synchronisation
from ooc.models.contract import Model
from ooc.models.train_state import TrainState
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader
from ooc.training.budget import Needs


def check_lanes_served(client: Any, needs: Needs, model: Model, dataset: Dataset) -> None:
    """Refuse what cannot be shared out by lanes, before any work; without a cluster, local steps.

    Raises
    ------
    InputError
        That says what to do instead.
    """
    batch = dataset.rows if needs.full else needs.largest_batch
    given = (model, dataset, list(needs.methods), batch, needs.stream.lanes)
    if client is not None:
        # Who has no client need not have dask.distributed.
        from ooc.cluster.engine import check_cluster

        check_cluster(client, *given)
    lanes, backups = needs.stream.lanes, needs.synchronisation.backup_lanes
    if backups and client is None:
        raise InputError(
            f"a step waits for nobody in one process: {backups} backup lanes are for the workers "
            "of a cluster; give client= or --scheduler, or leave them out"
        )
    if backups >= lanes > 1:
        raise InputError(
            f"of {lanes} lanes, {backups} cannot be backups: a step needs gradients of at least "
            f"one; give at most {lanes - 1}"
        )
    if needs.synchronisation.local_steps == 1:
        return
    from ooc.cluster.refusals import check_served

    check_served("a round of local steps", *given)
    for method in needs.methods:
        if method.optimizer is not None and method.optimizer.averages:
            raise InputError(
                f"{method.name} keeps an average of the iterates beside each lane's parameters, "
                "which a round of local steps moves; choose another optimizer, or local_steps=1"
            )


@contextmanager
def engine_on(
    client: Any,
    model: Model,
    loader: Loader,
    train_state: TrainState,
    full: bool,
    epochs: int,
    marks: Mapping[str, Any],
    how: Synchronisation = EVERY_STEP,
) -> Iterator[Engine]:
    """Yield what takes the steps.

    Parameters
    ----------
    client
        A ``dask.distributed.Client`` whose workers serve the lanes; None for this process.
    full
        Whether a batch is all rows.
    epochs
        Passes over the dataset.
    marks
        The fingerprint of the rows, by which workers know that they see the same.
    how
        How often lanes meet.
    """
    if client is None and how.local_steps == 1:
        yield make_engine(model, loader, train_state, full)
        return
    from ooc.cluster.messages import LaneWork

    work = LaneWork(
        loader.dataset, loader.names, loader.plan, loader.stream, model,
        tuple(each.optimizer for each in train_state.methods),
        train_state.parameters, epochs, {} if client is None else marks, how.local_steps > 1,
    )  # fmt: skip
    if client is None:
        from ooc.cluster.home import lanes_here

        with lanes_here(model, loader, train_state, work, how) as here:
            yield here
        return
    from ooc.cluster.engine import lanes_on

    with lanes_on(client, model, loader, train_state, work, how) as engine:
        yield engine
