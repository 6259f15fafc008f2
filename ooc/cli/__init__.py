"""The shell's door: options in, tables or one JSON object out. No logic of its own.

Heavy modules are imported by the command that uses them, so that help comes at once.
"""

import importlib
import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer
from typer.main import get_command

from ooc.cli.groups import flag
from ooc.cli.help import TableCommand
from ooc.cli.show import NOTES, start_clock
from ooc.core.errors import DivergedError, InputError
from ooc.core.process import age_seconds
from ooc.core.stopping import Interrupted, status_of, told
from ooc.core.terminal import finish_streams, one_line, prepare_streams, say
from ooc.version import VERSION

BAD_INPUT = 2
# zarr-python's, on how other programs may take what a store holds; Numba's, which then has no lock
# for processes that share it, as none do here; and those of what a signal breaks off. They come
# from any thread.
REMARKS = (
    "Numcodecs codecs are not in the Zarr version 3 specification",
    "The data type .* does not have a Zarr V3 specification",
    "Found an empty list of filters",
    "Could not obtain multiprocessing lock",
    "coroutine .* was never awaited",
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"ooc {VERSION}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, flag("Print the version.", "--version", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Take what stands before a command."""


# Commands in the order of the help, each with the module of this package that has its function.
COMMANDS = {
    "make": "data",
    "info": "data",
    "plan": "plan",
    "train": "training",
    "resume": "training",
    "sweep": "training",
    "report": "report",
    "evaluate": "scoring",
    "predict": "scoring",
    "export": "export",
    "shuffle": "shuffle",
    "convert": "convert",
    "bench": "bench",
}
ALL = tuple(COMMANDS)


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit status."""
    prepare_streams()
    warnings.showwarning = _say_warning
    # What a signal breaks off may still be told when the process ends.
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    status = main(arguments, age_seconds())
    if (remote := sys.modules.get("ooc.store.remote")) is not None:
        remote.cancel_requests()  # threads that wait for a server end with it
    if (reason := finish_streams()) is not None:
        status = _refuse(f"standard output cannot be written to: {reason}")
    sys.exit(status)


def main(arguments: Sequence[str] | None = None, before: float = 0.0) -> int:
    """Run the command line; return its exit status.

    Bad usage and bad input end in one line on standard error and status 2. `before` are seconds
    that passed before, and count into its total time.
    """
    NOTES.clear()
    start_clock(before)
    for remark in REMARKS:
        warnings.filterwarnings("ignore", message=remark)
    try:
        first = next(iter(sys.argv[1:] if arguments is None else arguments), "")
        # Commands that are not asked for are not even imported.
        parser = parser_of((first,) if first in COMMANDS else ALL)
        status = parser(args=arguments, prog_name="ooc", standalone_mode=False)
    except typer.TyperException as error:
        return _refuse(error.format_message() if hasattr(error, "format_message") else str(error))
    except (InputError, DivergedError) as error:
        return _refuse(str(error))
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except MemoryError as error:
        return _refuse(f"the system gives no more memory ({error}); lower --memory, or free some")
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _refuse(f"{error.strerror or error}{where}")
    except (Interrupted, KeyboardInterrupt) as error:
        say(told(error))
        return status_of(error)
    for note in NOTES:
        say(note)
    return status or 0


@cache
def parser_of(names: tuple[str, ...] = ALL) -> Any:
    """Return what parses a command line of these commands.

    It takes longer to make than some commands to run.
    """
    app = typer.Typer(
        help="Train on datasets larger than memory.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_common)
    for name in names:
        command = getattr(importlib.import_module(f"ooc.cli.{COMMANDS[name]}"), name)
        app.command(cls=TableCommand)(command)
    return get_command(app)


def _refuse(message: str) -> int:
    line = one_line(message)
    if line:
        say(f"ooc: {line}")
    return BAD_INPUT


def _say_warning(message: Warning | str, *where: object, **more: object) -> None:
    """Print a warning as one line; where in the code it comes from is of no use here."""
    say(f"ooc: {message}")
