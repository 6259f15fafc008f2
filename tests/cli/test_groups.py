"""Groups of options: each field is an option of the command, and the command gets the group."""

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import pytest
import typer

from ooc.cli.groups import flag, option, option_of, with_groups

DATA = typer.Argument(metavar="DATA")


@dataclass(frozen=True)
class Group:
    data: Annotated[str, DATA]
    size: str | int = option("Bytes.", "5")
    parts: int | str | None = option("Parts.", unset="many")
    count: int | None = option("Count.", unset="all")
    share: float = option("Share.", 0.5)
    plain: int = 3


def made(got: list[Any]) -> Any:
    @with_groups
    def command(group: Group, first: int, name: str = "a") -> None:
        """Do it."""
        got.append((group, first, name))

    return command


def test_the_command_gets_its_groups_and_the_rest() -> None:
    got: list[Any] = []
    command = made(got)
    command(data="d", first=1)
    command(data="e", first=2, name="b", size="7", parts="9", count=4, share=0.25, plain=8)
    assert got == [
        (Group("d", "5", None, None, 0.5, 3), 1, "a"),
        (Group("e", "7", "9", 4, 0.25, 8), 2, "b"),
    ]
    assert command.__doc__ == "Do it."
    with pytest.raises(TypeError):
        command(first=1, other=2, data="d")


def test_each_field_is_an_option_with_its_type_default_and_help() -> None:
    """Text where the library takes text or a number: the shell has nothing else."""
    signature = inspect.signature(made([]))
    names = ["data", "size", "parts", "count", "share", "plain", "first", "name"]
    assert list(signature.parameters) == names
    assert {each.kind for each in signature.parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    found = {name: each.default for name, each in signature.parameters.items()}
    empty = inspect.Parameter.empty
    defaults = {"data": empty, "first": empty, "size": "5", "parts": None, "count": None}
    assert found == {**defaults, "share": 0.5, "plain": 3, "name": "a"}
    kinds = {name: get_args(signature.parameters[name].annotation) for name in names}
    assert kinds["data"] == (str, DATA)
    assert kinds["size"][0] is str and kinds["parts"][0] is str
    assert kinds["count"][0] == int | None
    assert kinds["share"][0] is float
    assert signature.parameters["plain"].annotation is int
    told = {name: kinds[name][1] for name in ("size", "parts", "count", "share")}
    assert {name: each.help for name, each in told.items()} == {
        "size": "Bytes.", "parts": "Parts.", "count": "Count.", "share": "Share.",
    }  # fmt: skip
    assert [each.show_default for each in told.values()] == [True, "many", "all", True]


def test_an_option_may_be_taken_alone_and_made_alone() -> None:
    alone = option_of(Group, "count")
    assert (alone.help, alone.show_default) == ("Count.", "all")
    named = flag("Help.", "--this", unset="none", min=3)
    assert (named.help, named.show_default, named.min) == ("Help.", "none", 3)
