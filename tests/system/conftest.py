"""Fixtures of the system tests: a command line with its results folder, and a file of sentences."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Command


@pytest.fixture(scope="session")
def commands() -> Iterator[list[Command]]:
    """Those of all modules; when all tests are over, none of their processes may be left."""
    made: list[Command] = []
    yield made
    assert {command.results.name: left for command in made if (left := command.left_behind())} == {}


@pytest.fixture(scope="module")
def command(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, commands: list[Command]
) -> Command:
    """A command line with a results folder of its own."""
    commands.append(Command(tmp_path_factory.mktemp(request.module.__name__.rpartition(".")[2])))
    return commands[-1]


@pytest.fixture(scope="session")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 sentences in three classes, each class with words of its own."""
    path = tmp_path_factory.mktemp("data") / "tickets.csv"
    words = {
        "bug": ["crash", "error", "broken"],
        "praise": ["great", "love", "thanks"],
        "question": ["how", "where", "why"],
    }
    rows = ["text,label"]
    for i in range(400):
        label = list(words)[i % 3]
        rows.append(
            f"the {words[label][i % 7 % 3]} number {i * 7 % 97} is about page {i * 13 % 89} and user {i},{label}"
        )
    path.write_text("\n".join(rows))
    return path
