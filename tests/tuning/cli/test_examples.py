"""--help: each text is complete, fits a terminal, and ends with two commands that work when copied."""

import re
import shlex

import pytest

from tests.support.cli import COMMAND, sentune
from tuning.cli.examples import EXAMPLES
from tuning.cli.options import GROUPS

VERBS = sorted(COMMAND.commands)  # type: ignore[attr-defined]


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The lines that the program prints on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = sentune(monkeypatch, capsys, *words)
    assert code == 0
    return out.splitlines()


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_each_help_has_groups_of_options_and_ends_with_commands_to_copy(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(monkeypatch, capsys, *verb.split(), "--help")
    foot = lines[lines.index("  Examples:") + 1 :]
    assert foot == [f"    {command}" for command in EXAMPLES[verb]]
    assert len(foot) == (2 if verb else 4)
    assert [line for line in lines if len(line) > 80] == []
    if verb:
        options = [each for each in COMMAND.commands[verb].params if each.param_type_name == "option"]  # type: ignore[attr-defined]
        assert [each.name for each in options if each.rich_help_panel not in GROUPS] == []
        shown = [line.rstrip(":") for line in lines if re.fullmatch(r"[A-Z]\w+:", line)]
        used = {each.rich_help_panel for each in options}
        assert [title for title in shown if title != "Arguments"] == [group for group in GROUPS if group in used]


def test_the_list_of_verbs_cuts_no_sentence_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(monkeypatch, capsys, "--help")
    verbs = [line for line in lines if line.split() and line.split()[0] in VERBS]
    assert len(verbs) == len(VERBS)
    assert [line for line in verbs if line.endswith("...")] == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_each_option_is_a_sentence_with_its_default(verb: str) -> None:
    """A flag is off by default; Typer appends every other default that is not None."""
    parameters = [parameter for parameter in COMMAND.commands[verb].params if parameter.name != "help"]  # type: ignore[attr-defined]
    assert parameters
    assert [each.name for each in parameters if not re.fullmatch(r"[A-Z].*\.", each.help or "")] == []
    silent = [each for each in parameters if each.default is None and not each.required]
    assert [each.name for each in silent if "Default: " not in each.help] == []


def test_a_search_has_five_groups_of_options() -> None:
    groups = {each.rich_help_panel for each in COMMAND.commands["run"].params if each.param_type_name == "option"}  # type: ignore[attr-defined]
    assert groups == {"Data", "Search", "Resources", "Budget", "Output"}


@pytest.mark.parametrize("command", EXAMPLES[""])
def test_an_example_of_the_program_is_a_command_that_it_understands(command: str) -> None:
    """tests/test_pages.py checks those of the verbs, which docs/reference/commands.md shows."""
    program, verb, *rest = shlex.split(command, comments=True)
    assert program == "sentune"
    found = COMMAND.commands[verb].make_context(verb, rest)  # type: ignore[attr-defined]  # raises where it does not fit
    assert found.info_name == verb


def test_an_example_shows_its_own_verb() -> None:
    assert [(verb, c) for verb, commands in EXAMPLES.items() for c in commands if verb and c.split()[1] != verb] == []
