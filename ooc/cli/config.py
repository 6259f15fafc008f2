"""A command's options in a TOML file, under their names; what the command line names wins."""

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ooc.cli.groups import flag
from ooc.core.errors import InputError


def take_options(ctx: typer.Context, path: Path | None) -> Path | None:
    """Let the options of a file stand for those that the command line does not name.

    Raises
    ------
    InputError
        If the file cannot be read, or names what is no option of the command.
    """
    if path is None or ctx.resilient_parsing:
        return path
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}") from None
    known = {_key_of(each): each for each in ctx.command.params if each.name != "config"}
    options = dict[str, Any]()
    for key, value in given.items():
        option = known.get(key.replace("_", "-"))
        if option is None:
            nearest = difflib.get_close_matches(key, known, 1, cutoff=0.0)[0]
            raise InputError(
                f"{path} has {key!r}, which is no option of {ctx.info_name}; the nearest is "
                f"{nearest!r}"
            )
        if getattr(option, "multiple", False) or option.nargs == -1:
            several = value if isinstance(value, list) else [value]
            options[option.name] = [_text_of(path, key, each) for each in several]
        else:
            is_flag = getattr(option, "is_flag", False)
            options[option.name] = value if is_flag else _text_of(path, key, value)
    ctx.default_map = options
    return path


Config = Annotated[
    Path | None,
    flag(
        "TOML file of these options by their names, as ooc info RUN --config prints it; those "
        "that are given here win.",
        unset="none",
        callback=take_options,
        is_eager=True,
    ),
]


def toml_of(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """Write texts, numbers and truth values as TOML, each group of them under a comment.

    Examples
    --------
    >>> print(toml_of({"model": {"model": "mlp", "dropout": 0.5, "intercept": True}}))
    # model
    model = "mlp"
    dropout = 0.5
    intercept = true
    """
    parts = []
    for title, options in groups.items():
        # A TOML string is one of JSON, but for a control that JSON takes as it is.
        values = {key: json.dumps(each, ensure_ascii=False) for key, each in options.items()}
        lines = [f"{key} = {each}".replace("\x7f", "\\u007f") for key, each in values.items()]
        parts.append("\n".join([f"# {title}", *lines]))
    return "\n\n".join(parts)


def _key_of(parameter: Any) -> str:
    """Return an option's name without dashes before it, or an argument's."""
    return str(parameter.opts[0]).lstrip("-").replace("_", "-")


def _text_of(path: Path, key: str, value: Any) -> str:
    """Return a value as the command line has it."""
    if isinstance(value, list) and all(isinstance(each, int | float | str) for each in value):
        return ",".join(map(str, value))
    if not isinstance(value, str | int | float):
        kind = "table" if isinstance(value, dict) else type(value).__name__
        raise InputError(
            f"{path} has {key!r} with a {kind}; an option is a text, a number, true, false or a "
            "list of them"
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
