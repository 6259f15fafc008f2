"""Groups of options as dataclasses, so that a command names a group and not its twenty options.

A dataclass of the library becomes a group, too, where its fields' metadata is that of `option`.
"""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import wraps
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import OptionInfo

from ooc.cli.help import completion_of


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Spread the fields of a command's dataclass parameters out as options of their own.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Size:
    ...     width: int
    ...     height: int = 2
    >>> @with_groups
    ... def area(size: Size, unit: str = "m2") -> None:
    ...     print(size.width * size.height, unit)
    >>> inspect.signature(area)
    <Signature (*, width: int, height: int = 2, unit: str = 'm2') -> None>
    >>> area(width=3)
    6 m2
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type, list[str]]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(hints[name]) and isinstance(hints[name], type):
            found = _parameters_of(hints[name])
            groups[name] = (hints[name], [each.name for each in found])
            parameters += found
        else:
            keyword = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
            parameters.append(keyword)

    @wraps(command)
    def called(**given: Any) -> None:
        values = {each.name: each.default for each in parameters} | given
        for group, (kind, names) in groups.items():
            values[group] = kind(**{name: values.pop(name) for name in names})
        command(**values)

    called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        parameters, return_annotation=None
    )
    del called.__wrapped__
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def option(help_text: str, default: Any = None, unset: str | None = None) -> Any:
    """Return a group's field: what it is for, its default, and what None stands for."""
    return field(default=default, metadata={"help": help_text, "unset": unset})


def option_of(group: type, name: str) -> OptionInfo:
    """Return the option of a dataclass's field whose metadata says what it is for."""
    told = next(each.metadata for each in fields(group) if each.name == name)
    return flag(told["help"], unset=told["unset"])


def flag(help_text: str, *names: str, unset: str | None = None, **settings: Any) -> OptionInfo:
    """Return an option: what it is for, its names if not its parameter's, what None stands for."""
    completion = completion_of(help_text)
    if completion is not None:
        settings["autocompletion"] = completion
    made: OptionInfo = typer.Option(*names, help=help_text, show_default=unset or True, **settings)
    return made


def _parameters_of(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=_annotation(group, one, hints[one.name]),
        )
        for one in fields(group)
    ]


def _annotation(group: type, one: "Field[Any]", hint: Any) -> Any:
    """Return a field's type for the shell: text, where the library takes text or a number."""
    if get_origin(hint) is Annotated or "help" not in one.metadata:
        return hint
    kinds = set(get_args(hint)) - {NoneType}
    return Annotated[str if str in kinds and len(kinds) > 1 else hint, option_of(group, one.name)]
