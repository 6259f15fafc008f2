"""Help that names the entries of tables, which are imported when the help is asked for."""

import os
from collections.abc import Callable, Iterable
from pkgutil import resolve_name
from typing import Any

from typer.core import TyperCommand

# What a help text may name in braces, and the table whose names it stands for.
TABLES = {
    "activations": "ooc.kernels.activations:ACTIVATIONS",
    "codecs": "ooc.store.chunks.codecs:CODECS",
    "compressions": "ooc.store.compression:COMPRESSIONS",
    "formats": "ooc.export:FORMATS",
    "full_gradient": "ooc.optim:FULL_GRADIENT",
    "heads": "ooc.models.mlp:HEADS",
    "input_formats": "ooc.conversion.formats:FORMATS",
    "initialisations": "ooc.models.network:INITIALISATIONS",
    "kinds": "ooc.synthetic:KINDS",
    "losses": "ooc.kernels.losses:LOSSES",
    "models": "ooc.models:MODELS",
    "optimizers": "ooc.optim:OPTIMIZERS",
    "orders": "ooc.synthetic:ORDERS",
    "samplings": "ooc.stream.sampling:SAMPLINGS",
    "schedules": "ooc.optim.schedules:SCHEDULES",
    "shuffles": "ooc.stream.order:SHUFFLES",
    "transforms": "ooc.store.transforms:TRANSFORMS",
    "trackers": "ooc.training.watchers.trackers:TRACKERS",
}


class TableCommand(TyperCommand):
    """A command in whose help ``{models}`` stands for the names of all models."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print as ever, with the names that are in the tables now."""
        parts: list[Any] = [each for each in (self, *self.params) if getattr(each, "help", None)]
        written = [part.help for part in parts]
        for part, text in zip(parts, written, strict=True):
            part.help = with_names(text)
        super().format_help(ctx, formatter)
        for part, text in zip(parts, written, strict=True):
            part.help = text


def with_names(text: str) -> str:
    """Fill in the names of tables.

    Examples
    --------
    >>> with_names("One of {orders}.")
    'One of random or sorted.'
    """
    wanted = [name for name in TABLES if f"{{{name}}}" in text]
    return text.format(**{name: listed(names_of(name)) for name in wanted}) if wanted else text


def completion_of(text: str) -> Callable[[str], list[str]] | None:
    """Return what completes a value by the tables that its help names, where a shell asks now.

    Typer looks at each such function, which every start of a command would wait for.
    """
    asked = "_OOC_COMPLETE" in os.environ
    wanted = [name for name in TABLES if asked and f"{{{name}}}" in text]

    def names(incomplete: str) -> list[str]:
        return [name for table in wanted for name in names_of(table)]

    return names if wanted else None


def names_of(table: str) -> list[str]:
    """Return the names of a table's entries."""
    return list(resolve_name(TABLES[table]))


def listed(names: Iterable[str]) -> str:
    """Join names for a sentence.

    Examples
    --------
    >>> listed(["a", "b", "c"])
    'a, b or c'
    """
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
