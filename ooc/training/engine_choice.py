"""Which engine takes a run's steps: one of this process, or one whose lanes a cluster serves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ooc.engines.engine import Engine, make_engine
from ooc.models.contract import Model
from ooc.models.train_state import TrainState
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader
from ooc.training.budget import Needs


def check_client(client: Any, needs: Needs, model: Model, dataset: Dataset) -> None:
    """Refuse what a cluster cannot serve, before any work; anything goes without one.

    Raises
    ------
    InputError
        That says what to do instead.
    """
    if client is None:
        return
    # Who has no client need not have dask.distributed.
    from ooc.cluster.engine import check_cluster

    batch = dataset.rows if needs.full else needs.largest_batch
    check_cluster(client, model, dataset, list(needs.methods), batch, needs.stream.lanes)


@contextmanager
def engine_on(
    client: Any,
    model: Model,
    loader: Loader,
    train_state: TrainState,
    full: bool,
    epochs: int,
    marks: Mapping[str, Any],
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
    """
    if client is None:
        yield make_engine(model, loader, train_state, full)
        return
    from ooc.cluster.engine import lanes_on
    from ooc.cluster.messages import LaneWork

    work = LaneWork(
        loader.dataset, loader.names, loader.plan, loader.stream, model,
        tuple(each.optimizer for each in train_state.methods),
        train_state.parameters, epochs, marks,
    )  # fmt: skip
    with lanes_on(client, model, loader, train_state, work) as engine:
        yield engine
