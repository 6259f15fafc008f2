"""Groups of options as dataclasses, so that a command names a group and not its twenty options."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints


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
        defaults = {each.name: each.default for each in parameters}
        values = defaults | given
        for group, (kind, names) in groups.items():
            values[group] = kind(**{name: values.pop(name) for name in names})
        command(**values)

    called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        parameters, return_annotation=None
    )
    del called.__wrapped__
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def _parameters_of(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
