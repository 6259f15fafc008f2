"""Commands about data: make, info."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ooc.cli.options import (
    DataPath,
    Features,
    Io,
    Json,
    Missing,
    Seed,
    Target,
    Weight,
    local_output,
    open_dataset,
)
from ooc.cli.show import show, table
from ooc.core.errors import InputError
from ooc.core.sizes import parse_count
from ooc.core.terminal import one_line

if TYPE_CHECKING:
    from ooc.store.dataset import Dataset


def make(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="{kinds}.")],
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="Folder to make.", callback=local_output)
    ],
    rows: Annotated[str, typer.Option(help="Rows, such as 20M.")],
    features: Annotated[int, typer.Option(help="Features of a row.")] = 128,
    classes: Annotated[
        int | None, typer.Option(help="Classes of a kind with a choice.", show_default="10")
    ] = None,
    order: Annotated[str, typer.Option(help="{orders}, by target.")] = "random",
    seed: Seed = 0,
    held_out: Annotated[
        bool, typer.Option(help="Rows of the same truth that the dataset without this lacks.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(help="Threads that write.", show_default="one a core")
    ] = None,
    json_: Json = False,
) -> None:
    """Generate a dataset whose truth is known.

    Example: ooc make logistic big.zarr --rows 20M --features 128
    """
    from ooc.cli.progress_bar import ProgressDisplay
    from ooc.synthetic import Recipe
    from ooc.synthetic import make as generate

    recipe = Recipe(kind, parse_count(rows), features, classes, order, seed, held_out)
    with ProgressDisplay(f"make {path.name}") as report:
        result = generate(path, recipe, threads, report)
    show({**result, "path": str(path)}, json_)


def info(
    data: DataPath,
    features: Features = "X",
    target: Target = None,
    weight: Weight = None,
    missing: Missing = "raise",
    io: Io = "auto",
    verify: Annotated[
        bool, typer.Option("--verify", help="Read everything and list every bad chunk.")
    ] = False,
    json_: Json = False,
) -> None:
    """Describe a dataset: its arrays, how each is read and why, and whether it is whole.

    The native path is for local arrays whose codecs are among {codecs}.

    Example: ooc info big.zarr --verify
    """
    from ooc.store.chunks import read_path

    dataset = open_dataset(data, features, target, weight, missing)
    roles = {"features": dataset.features, "target": dataset.target, "weight": dataset.weight}
    paths = {name: read_path(dataset, name, io) for name in dataset.arrays}
    bad = _verified(dataset, data, io) if verify else None
    if json_:
        arrays = {
            spec.name: {**spec.to_json(), "native": paths[spec.name].native}
            | {"read_path": paths[spec.name].describe()}
            for spec in dataset.arrays.values()
        }
        result = {"path": dataset.path, "rows": dataset.rows, "roles": roles, "arrays": arrays}
        show(result if bad is None else {**result, "bad_chunks": bad}, True)
    else:
        role_of = {name: role for role, name in roles.items()}
        lines = {
            spec.name: f"{role_of.get(spec.name, 'further array')}: {spec.describe()}\n"
            f"read by {paths[spec.name].describe()}"
            for spec in dataset.arrays.values()
        }
        table(f"{dataset.path}, {dataset.rows:,} rows", lines)
        if bad is not None:
            print("\n".join(map(one_line, bad)) or "every chunk can be read")
    if bad:
        raise InputError(
            f"{len(bad)} chunks of {dataset.path} cannot be read; restore them from their source, "
            "or train with --on-bad-chunk skip"
        )


def _verified(dataset: "Dataset", data: Path, io: str) -> list[str]:
    from ooc.cli.progress_bar import ProgressDisplay
    from ooc.store.verify import verify

    with ProgressDisplay(f"verify {data.name}") as report:
        return [str(chunk) for chunk in verify(dataset, io, report=report)]
