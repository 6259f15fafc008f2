"""The command line that all pipelines have, and options that several of them share."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ooc.core.destination import local_path
from ooc.core.errors import InputError
from ooc.stream.plan import budget_of


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line.

    Parameters
    ----------
    name
        Of the pipeline.
    description
        The docstring of its ``__main__``: title, blank line, text.
    quick
        Other defaults of options with ``--quick``.
    """

    def __init__(self, name: str, description: str, quick: Mapping[str, Any]) -> None:
        self.name, self._quick = name, quick
        title, _, text = description.strip().partition("\n\n")
        self.title = title.rstrip(".")
        self.text = text.strip()
        super().__init__(
            prog=f"python -m pipelines.{name}",
            description=self.title,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        self.add_argument("--quick", action="store_true", help="a short run, of seconds")
        for name, text in (
            ("--json", "write checks and numbers as one JSON object"),
            ("--html", "write tables and figures as one page"),
        ):
            # No default is shown where there is none.
            self.add_argument(name, type=Path, metavar="FILE", default=argparse.SUPPRESS, help=text)

    def read(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Return the options; those that are not given are shorter with ``--quick``.

        Raises
        ------
        InputError
            If they cannot be read, or a file is to go where there is no folder.
        """
        options = self.parse_args(arguments)
        if options.quick:
            self.set_defaults(**self._quick)
            options = self.parse_args(arguments)
        if (folder := getattr(options, "folder", None)) is not None:
            local_path(folder, "results")
        for name in ("json", "html"):
            path = getattr(options, name, None)
            setattr(options, name, None if path is None else local_path(path, "results"))
            if path is not None and not path.parent.is_dir():
                raise InputError(
                    f"{path.parent} is no folder to write {path.name} to; make it first"
                )
        return options

    def error(self, message: str) -> NoReturn:
        """Raise it instead of printing the usage."""
        raise InputError(f"{message}; see --help")


def add_data_options(parser: Parser, folder: str, memory: str, seed: int = 0) -> None:
    """Add where results go, the memory that may be used, and the seed."""
    parser.add_argument("--folder", type=Path, default=Path(folder), help="for all results")
    parser.add_argument("--memory", default=memory, help="bytes that the process may use")
    parser.add_argument(
        "--seed", type=int, default=seed, help="everything random is a function of it"
    )


def add_training_options(parser: Parser, batch_size: int) -> None:
    """Add what is asked of mini-batch training with Adam."""
    parser.add_argument("--epochs", type=int, default=1, help="passes over the rows")
    parser.add_argument("--batch-size", type=int, default=batch_size, help="rows of a step")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of Adam")


def check_training(options: argparse.Namespace, rows: int) -> None:
    """Refuse epochs and batches that cannot be, before any work.

    Raises
    ------
    InputError
        If there are none, or a batch has more rows than there are.
    """
    if options.epochs < 1 or not 1 <= options.batch_size <= rows:
        raise InputError(
            f"{options.epochs} epochs with batches of {options.batch_size} are not possible: both "
            f"must be at least 1, and a batch at most the {rows:,} rows"
        )


def check_memory(memory: str) -> int:
    """Return the bytes of a budget.

    Raises
    ------
    InputError
        If it is no size, or more than this process may use.
    """
    return budget_of(memory)


def widths(text: str) -> tuple[int, ...]:
    """Read the units of layers.

    Raises
    ------
    InputError
        If they are no whole numbers.

    Examples
    --------
    >>> widths("256,128")
    (256, 128)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} are no widths; write them as 256,256") from None
