"""Help names what there is, from the tables."""

import re

import pytest

from ooc.cli import COMMANDS, main
from ooc.cli.help import TABLES, names_of, with_names


@pytest.mark.parametrize("table", TABLES)
def test_help_can_name_every_table(table: str) -> None:
    names = names_of(table)
    assert len(names) > 1
    assert with_names(f"Of {{{table}}}.") == f"Of {', '.join(names[:-1])} or {names[-1]}."


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_no_place_left_to_fill(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    # Arguments are in braces and capitals.
    assert not re.search(r"\{[a-z]", capsys.readouterr().out)
