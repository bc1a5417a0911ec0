"""What --help says fits a terminal, and the commands at its foot can be given as they stand."""

import shlex
import sys

import pytest
import typer

from tuning.cli import app
from tuning.cli.examples import EXAMPLES

GROUP = typer.main.get_command(app.app)
VERBS = sorted(GROUP.commands)  # type: ignore[attr-defined]
COMMANDS = [command for commands in EXAMPLES.values() for command in commands]


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The lines that the program prints on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["sentune", *words])
    with pytest.raises(SystemExit, match="0"):
        app.main()
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_each_help_ends_with_its_examples_as_they_were_written(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(monkeypatch, capsys, *verb.split(), "--help")
    foot = lines[lines.index("  Examples:") + 1 :]
    assert foot == [f"    {command}" for command in EXAMPLES[verb]]
    assert foot


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_80_columns(verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert [line for line in said(monkeypatch, capsys, *verb.split(), "--help") if len(line) > 80] == []


def test_the_list_of_verbs_cuts_no_sentence_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(monkeypatch, capsys, "--help")
    verbs = [line for line in lines if line.split() and line.split()[0] in VERBS]
    assert len(verbs) == len(VERBS)
    assert [line for line in verbs if line.endswith("...")] == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_each_option_is_a_sentence(verb: str) -> None:
    texts = [parameter.help for parameter in GROUP.commands[verb].params if parameter.name != "help"]  # type: ignore[attr-defined]
    assert texts
    assert [text for text in texts if not (text and text[0].isupper() and text.endswith("."))] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_is_a_command_that_the_program_understands(command: str) -> None:
    """Its verb is there, and has these options, which take such values."""
    words = shlex.split(command, comments=True)
    program, verb, *rest = words[: words.index(">")] if ">" in words else words
    assert program == "sentune"
    found = GROUP.commands[verb].make_context(verb, rest)  # type: ignore[attr-defined]  # raises where it does not fit
    assert found.info_name == verb


def test_an_example_shows_its_own_verb() -> None:
    assert [(verb, c) for verb, commands in EXAMPLES.items() for c in commands if verb and c.split()[1] != verb] == []
