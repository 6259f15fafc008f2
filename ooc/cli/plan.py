"""The plan command: how a run would fit its memory, and how well it would mix."""

from typing import TYPE_CHECKING

from ooc.cli.cluster import ClusterOptions
from ooc.cli.groups import with_groups
from ooc.cli.models import ModelOptions
from ooc.cli.options import BatchSize, DescentOptions, Json, SeveralDataOptions, make_trainer
from ooc.cli.show import NOTES, show, table
from ooc.core.sizes import format_size
from ooc.stream.options import StreamOptions

if TYPE_CHECKING:
    from distributed import Client

    from ooc.store.dataset import Dataset
    from ooc.stream.plan import Plan
    from ooc.stream.window_advice import Advice
    from ooc.training.trainer import Trainer


@with_groups
def plan(
    where: SeveralDataOptions,
    model: ModelOptions,
    descent: DescentOptions,
    stream: StreamOptions,
    cluster: ClusterOptions,
    batch_size: BatchSize = "256",
    json_: Json = False,
) -> None:
    """Show how a run would fit its memory, and how well it would mix; a sample is read.

    Example: ooc plan big.zarr --memory 1GiB --batch-size 256
    """
    from ooc.core.progress import tell
    from ooc.core.progress_bar import ProgressDisplay

    with ProgressDisplay(f"plan {where.name}") as report:
        from ooc.store.chunks import read_path
        from ooc.stream.window_advice import advise, measured_trade, trade_table
        from ooc.training.marks import refused_values, warn_of_marks

        dataset = where.open()
        trainer = make_trainer(model.config(dataset), descent.make(), batch_size, stream)
        used = [name for name in (dataset.features, dataset.target, dataset.weight) if name]
        reads = {name: read_path(dataset, name, stream.io).describe() for name in used}
        tell(report, "reading a sample")
        planned = trainer.loader(dataset).plan
        # Of sparse rows the window is as large as there is room for, however they are mixed.
        with cluster.connected() as client:
            served = {} if client is None else _workers(client, trainer, dataset, planned)
        looks = stream.shuffle != "none" and not dataset.arrays[dataset.features].is_sparse
        advice = advise(dataset, planned, io=stream.io) if looks else None
        NOTES.extend(refused_values(dataset, used, stream.missing_values))
        warn_of_marks(dataset, used)
    numbers = planned.to_json()
    if json_:
        predicted = {} if advice is None else advice.to_json()
        workers = {"workers": served} if served else {}
        show({**numbers, "read_paths": reads, **workers, **predicted}, True)
        return
    terms = {name: format_size(size) for name, size in planned.terms.items()}
    for key in ("memory_terms", "memory_budget_bytes", "memory_projected_bytes"):
        del numbers[key]
    table(f"plan for {dataset.path}", numbers)
    table("reading", reads, as_named=True)
    terms |= {"projected": format_size(planned.projected), "budget": format_size(planned.budget)}
    table("memory", terms)
    if served:
        budget = format_size(planned.budget)
        lines = {
            address: f"{each['lanes']} lanes, {format_size(each['projected_bytes'])} of {budget}"
            for address, each in served.items()
        }
        table("workers", lines, as_named=True)
    if advice is not None:
        table("mixing", _mixing_lines(dataset, planned, advice))
        table("windows", trade_table(measured_trade(dataset, planned, advice)))


def _workers(
    client: "Client", trainer: "Trainer", dataset: "Dataset", planned: "Plan"
) -> dict[str, dict[str, int]]:
    """Say which workers would serve how many lanes, and what they would hold, checked there."""
    from ooc.cluster.survey import survey
    from ooc.optim import as_method

    return survey(client, trainer.model, dataset, as_method(trainer.optimizer), planned)


def _mixing_lines(dataset: "Dataset", planned: "Plan", advice: "Advice") -> dict[str, str]:
    """Say how well a plan mixes, and where that is not well enough, what would."""
    worst = advice.worst
    lines = {
        "predicted inflation": f"{advice.inflation:.3f} of the variance of batch means, by "
        f"{worst.name}: Vb/s2 {worst.between_share:.4f} +- {worst.error:.4f}"
    }
    if advice.enough:
        return lines
    lines["more memory"] = (
        f"a window of {advice.needed_blocks:,} blocks would bring it to {advice.limit}: "
        f"--memory {advice.memory // 2**20}MiB"
    )
    lines["smaller chunks"] = (
        "not even chunks of one row would be enough in this window"
        if advice.chunk_rows is None
        else f"chunks of {advice.chunk_rows:,} rows, now {planned.order.block_rows:,}, would do "
        "so in this window if they differ as much"
    )
    scratch = dataset.stored_rows * dataset.stored_row_bytes
    lines["an exact shuffle"] = (
        f"brings it to 1.000 for good: ooc shuffle {dataset.path} NEW, with "
        f"{format_size(scratch)} of scratch space"
    )
    return lines
