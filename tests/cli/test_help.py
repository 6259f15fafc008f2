"""Help names what there is, from the tables."""

import re
import shlex

import pytest

from ooc.cli import COMMANDS, main, parser_of
from ooc.cli.help import TABLES, completion_of, listed, names_of, with_names
from ooc.synthetic import KINDS


@pytest.mark.parametrize("table", TABLES)
def test_help_can_name_every_table(table: str) -> None:
    names = names_of(table)
    assert len(names) > 1
    assert with_names(f"Of {{{table}}}.") == f"Of {', '.join(names[:-1])} or {names[-1]}."


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_no_place_left_to_fill(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    # Arguments are in braces and capitals.
    assert not re.search(r"\{[a-z]", capsys.readouterr().out)


def test_help_names_what_is_in_a_table_now(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after help was asked for before."""
    assert main(["make", "--help"]) == 0
    assert "spiral" not in capsys.readouterr().out
    monkeypatch.setitem(KINDS, "spiral", KINDS["linear"])
    assert main(["make", "--help"]) == 0
    assert "spiral" in capsys.readouterr().out


def test_names_are_listed_as_in_a_sentence() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a or b"
    assert listed(iter("abcd")) == "a, b, c or d"
    assert with_names("As {it} is.") == "As {it} is."


def test_a_value_is_completed_by_all_tables_that_its_help_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "{optimizers}; or {full_gradient}."
    monkeypatch.delenv("_OOC_COMPLETE", raising=False)
    assert completion_of(text) is None
    monkeypatch.setenv("_OOC_COMPLETE", "complete_bash")
    complete = completion_of(text)
    assert complete is not None
    assert complete("") == [*names_of("full_gradient"), *names_of("optimizers")]
    assert completion_of("Rows.") is None


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_in_help_are_commands_with_options_that_there_are(command: str) -> None:
    made = parser_of().commands[command]
    text = " ".join((made.help or "").split())
    examples = re.findall(r"Example: ooc (.*?)(?= Example:|$)", text)
    assert examples
    for example in examples:
        name, *arguments = shlex.split(example.partition(" > ")[0])
        assert name == command
        known = {name for each in made.params for name in (*each.opts, *each.secondary_opts)}
        assert {word for word in arguments if word.startswith("--")} <= known
