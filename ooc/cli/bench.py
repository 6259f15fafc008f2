"""The bench command: the hardware's limit and the trainer beside it."""

from pathlib import Path
from typing import Annotated

import typer

from ooc.cli.groups import with_groups
from ooc.cli.models import ModelOptions
from ooc.cli.options import BatchSize, DataOptions, Json, make_trainer, output
from ooc.cli.show import show, table
from ooc.stream.options import StreamOptions


@with_groups
def bench(
    where: DataOptions,
    model: ModelOptions,
    stream: StreamOptions,
    batch_size: BatchSize = "256",
    rounds: Annotated[int, typer.Option(min=1, help="How often all is measured.")] = 3,
    picture: Annotated[Path | None, output("PNG to draw the bars to.")] = None,
    json_: Json = False,
) -> None:
    """Measure disk, decoding and a model's kernel, and how near to them training comes.

    Example: ooc bench big.zarr --memory 1GiB --picture bench.png
    """
    from ooc.core.progress_bar import ProgressDisplay
    from ooc.measure.roofline import bench as measure
    from ooc.measure.roofline import draw_bars
    from ooc.models import from_config
    from ooc.models.standardise import AUTO
    from ooc.optim import sgd

    dataset = where.open()
    config = dict(model.config(dataset))
    settings = from_config(config).to_config()
    # Passes that only prepare are left out.
    config |= {
        name: False for name in ("standardise", "standardise_target") if settings.get(name) == AUTO
    }
    # So short that no step diverges, whatever the features' scale: it costs the same.
    trainer = make_trainer(config, sgd(1e-20), batch_size, stream)
    with ProgressDisplay(f"bench {where.name}") as report:
        result = measure(dataset, trainer, rounds, report)
    if picture is not None:
        draw_bars(result, picture)
    if json_:
        show(result, True)
        return
    rates = {key: result[key] for key in result if key.endswith("bytes_per_second")}
    low, high = result["fraction_spread"]
    fraction = f"{result['fraction_of_roofline']:.2f} ({low:.2f} to {high:.2f})"
    show({**rates, "fraction_of_roofline": fraction, "rounds": result["rounds"]}, False)
    spent = result["core_seconds"]
    total = sum(spent.values())
    lines = {}
    for part, seconds in spent.items():
        share = seconds / total
        lines[part] = f"{seconds:6.2f} s  {100 * share:3.0f}%  {'#' * round(40 * share)}"
    table(f"where the time of {result['cores']} cores went", lines)
    print(f"the trainer waited {result['wait_seconds']:.2f} of {result['seconds']:.2f} s for data")
