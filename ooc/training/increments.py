"""Steps on rows that come a few at a time: each set is passed over once, the descent goes on."""

from dataclasses import dataclass, replace

from ooc.core.compile_child import load_kernels
from ooc.core.errors import InputError
from ooc.core.progress import silent
from ooc.engines.engine import make_engine
from ooc.engines.kernels import engine_kernels
from ooc.kernels.counters import LOSS_SUM
from ooc.models.contract import Layout, Model
from ooc.models.declarations import loss_unit_of, prepare
from ooc.models.train_state import TrainState, start
from ooc.optim import Method, as_method
from ooc.optim.schedules import UNCHANGED
from ooc.runs.classes import labelled_as, with_classes
from ooc.runs.run import Run
from ooc.store.dataset import Dataset
from ooc.store.labels import Name
from ooc.store.transforms import transformed
from ooc.stream.loader import Loader
from ooc.training.session import first_parameters, with_rates
from ooc.training.statistics import RowStatistics
from ooc.training.trainer import Trainer


@dataclass(frozen=True)
class Increment:
    """Where a descent stands between two sets of rows.

    Attributes
    ----------
    model, layout
        The model, with all that the first rows decided.
    train_state
        Parameters and optimizer state, which the next steps change in place.
    step
        Steps taken so far.
    loss
        Mean loss of the rows passed over last, on the way.
    class_names
        What classes are called; empty where they are their numbers.
    transform
        What is done to the features as they are read.
    """

    model: Model
    layout: Layout
    train_state: TrainState
    row_shape: tuple[int, ...]
    step: int = 0
    loss: float | None = None
    class_names: tuple[Name, ...] = ()
    transform: str = ""

    def run(self) -> Run:
        """Return the run that the descent would leave now."""
        parameters = self.train_state.solution().copy()
        results = {"steps": self.step, "loss": self.loss}
        found = Run(self.model, self.layout, parameters, self.row_shape, [], results)
        return replace(found, class_names=self.class_names, transform=self.transform)


def take_steps(
    trainer: Trainer, dataset: Dataset, before: Increment | Run | None = None
) -> Increment:
    """Pass over a dataset's rows once, from where a descent, or a run, stands.

    What is left to the data, standardisation and a learning rate that was not given, is found in
    the first rows, and stays.

    Raises
    ------
    InputError
        If the trainer's method asks for passes of its own, or nothing fits.
    """
    method = as_method(trainer.optimizer)
    if method.full is not None:
        raise InputError(
            f"{method.name} asks for passes over all rows of its own; choose an optimizer that "
            "takes steps on mini-batches, such as sgd or adam"
        )
    if before is not None:
        dataset = labelled_as(transformed(dataset, before.transform), before.class_names)
    if not isinstance(before, Increment):
        dataset = with_classes(dataset, trainer.model)
        before = _begin(trainer, method, dataset, before)
    loader = replace(trainer, model=before.model).loader(dataset)
    loader.step = before.step
    engine = make_engine(before.model, loader, before.train_state)
    before.train_state.totals[:] = 0.0
    for window in loader.windows(1):
        engine.advance(window)
    unit = loss_unit_of(before.model, before.layout, before.train_state.parameters[0])
    loss = unit * float(before.train_state.totals[0, LOSS_SUM]) / max(engine.rows, 1)
    return replace(before, step=engine.step, loss=loss)


def _begin(trainer: Trainer, method: Method, dataset: Dataset, run: Run | None) -> Increment:
    """Find in the first rows what is not given."""
    loader: Loader = trainer.loader(dataset)
    rows = loader.plan.largest_batch or loader.plan.batch_size
    load_kernels(engine_kernels(trainer.model, dataset, [method], rows), silent)
    if run is None:
        prepared = prepare(trainer.model, RowStatistics(loader))
        model, layout = prepared.model, prepared.model.layout(dataset.row_shape)
        parameters = first_parameters(model, layout, trainer.stream.seed, prepared.parts)
    else:
        model, layout, parameters = run.model, run.layout, run.parameters
    optimizer = method.optimizer
    if optimizer is not None and optimizer.rates.spans_run:
        # Nobody knows how many rows are to come.
        method = replace(method, optimizer=replace(optimizer, schedule=UNCHANGED))
    loader = replace(trainer, model=model).loader(dataset)
    known, _ = with_rates([method], model, loader, parameters, 1)
    state, names = start(known, parameters, model), dataset.class_names
    return Increment(model, layout, state, dataset.row_shape, 0, None, names, dataset.transform)
