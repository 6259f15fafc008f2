"""Commands about data: make, info."""

from pathlib import Path, PurePath
from typing import Annotated

import typer

from ooc.cli.groups import flag, with_groups
from ooc.cli.options import Compression, Io, Json, Seed, SeveralDataOptions, dataset_output
from ooc.cli.show import show, show_measured, table
from ooc.core.errors import InputError
from ooc.core.sizes import parse_count
from ooc.core.terminal import one_line
from ooc.store.compression import FAST_WRITE


def make(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="{kinds}.")],
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Folder or URL to make.", callback=dataset_output)
    ],
    rows: Annotated[str, flag("Rows, such as 20M.")],
    features: Annotated[int, flag("Features of a row.")] = 128,
    classes: Annotated[int | None, flag("Classes of a kind with a choice.", unset="10")] = None,
    order: Annotated[str, flag("{orders}, by target.")] = "random",
    seed: Seed = 0,
    held_out: Annotated[
        bool, flag("Rows of the same truth that the dataset without this lacks.")
    ] = False,
    threads: Annotated[int | None, flag("Threads that write.", unset="one a core")] = None,
    compression: Compression = FAST_WRITE,
    json_: Json = False,
) -> None:
    """Generate a dataset whose truth is known.

    Example: ooc make logistic big.zarr --rows 20M --features 128
    """
    from ooc.core.progress_bar import ProgressDisplay
    from ooc.synthetic import Recipe
    from ooc.synthetic import make as generate

    recipe = Recipe(kind, parse_count(rows), features, classes, order, seed, held_out)
    with ProgressDisplay(f"make {PurePath(path).name}") as report:
        result = generate(path, recipe, threads, report, compression=compression)
    show_measured({**result, "path": path}, json_, "")


@with_groups
def info(
    where: SeveralDataOptions,
    io: Io = "auto",
    verify: Annotated[bool, flag("Read everything and list every bad chunk.", "--verify")] = False,
    config: Annotated[
        bool, flag("DATA is a saved run: print its settings, for train --config.", "--config")
    ] = False,
    json_: Json = False,
) -> None:
    """Describe a dataset: its arrays, how each is read and why, and whether it is whole.

    The native path is for local arrays whose codecs are among {codecs}.

    Example: ooc info big.zarr --verify

    Example: ooc info runs/big --config > run.toml
    """
    if config:
        _print_settings(where.paths, json_)
        return
    from ooc.core.progress_bar import ProgressDisplay
    from ooc.store.chunks import read_path
    from ooc.store.verify import verify as verify_chunks

    dataset, bad = where.open(), list[str]()
    roles = {"features": dataset.features, "target": dataset.target, "weight": dataset.weight}
    paths = {name: read_path(dataset, name, io) for name in dataset.arrays}
    if verify:
        with ProgressDisplay(f"verify {where.name}") as report:
            bad = [str(chunk) for chunk in verify_chunks(dataset, io, report=report)]
    if json_:
        arrays = {
            name: {**spec.to_json(), "native": path.native, "read_path": path.describe()}
            for (name, spec), path in zip(dataset.arrays.items(), paths.values(), strict=True)
        }
        result = {"path": dataset.path, "rows": dataset.rows, "roles": roles, "arrays": arrays}
        result |= {"guessed": list(dataset.guessed), "unused": dict(dataset.unused)}
        show({**result, "bad_chunks": bad} if verify else result, True)
    else:
        role_of = {name: role for role, name in roles.items()}
        lines = {}
        for name, spec in dataset.arrays.items():
            lines[name] = f"{role_of.get(name, 'further array')}: {spec.describe()}\n"
            lines[name] += f"read by {paths[name].describe()}"
            if spec.problem:
                lines[name] += f"\ncannot be decoded: {spec.problem}"
            elif spec.conventions:
                lines[name] += f"\nread as {spec.conventions.describe()}"
        lines |= {name: f"not used: {reason}" for name, reason in dataset.unused.items()}
        table(f"{dataset.path}, {dataset.rows:,} rows", lines, as_named=True)
        if verify:
            print("\n".join(map(one_line, bad)) or "every chunk can be read")
    if bad:
        raise InputError(
            f"{len(bad)} chunks of {dataset.path} cannot be read; restore them from their source, "
            "or train with --on-bad-chunk skip"
        )


def _print_settings(runs: list[Path], as_json: bool) -> None:
    """Print the options of `train` that give a saved run again."""
    run, *others = runs
    if others:
        raise InputError(f"--config is of one run; leave out {others[0]}")
    from ooc.cli.config import toml_of
    from ooc.cli.settings import settings_of
    from ooc.runs import checkpoint

    _, saved = checkpoint.load(run)
    with checkpoint.understood(run):
        groups = settings_of(str(run), saved)
    if as_json:
        show({name: value for group in groups.values() for name, value in group.items()}, True)
    else:
        print(toml_of(groups))
