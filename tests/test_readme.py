"""README.md names verbs and options that exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = re.findall(r"^(sentune [^#\n]+)", README, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    verbs = {shlex.split(command)[1] for command in COMMANDS}
    return {
        verb: subprocess.run(
            [sys.executable, "-m", "tuning", verb, "--help"], capture_output=True, text=True, check=True
        ).stdout
        for verb in verbs
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_uses_options_that_its_verb_has(command: str, helps: dict[str, str]) -> None:
    words = shlex.split(command)
    for option in (word for word in words[2:] if word.startswith("--")):
        assert re.search(rf"^\s+{option}\b", helps[words[1]], flags=re.MULTILINE), option


def test_every_option_in_the_table_is_an_option_of_run(helps: dict[str, str]) -> None:
    rows = re.findall(r"^\| (`--[^|]+) \|", README, flags=re.MULTILINE)
    options = [option for row in rows for option in re.findall(r"--[\w-]+", row)]
    assert len(options) >= 10
    assert [option for option in options if option not in helps["run"]] == []


def test_the_space_file_in_the_readme_is_read(tmp_path: Path) -> None:
    from tuning.space_file import load_space

    (tmp_path / "space.yaml").write_text(re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)[0])
    space = load_space(str(tmp_path / "space.yaml"))
    assert [d.name for d in space.dimensions] == [
        "n_layers",
        "hidden_dim",
        "lstm_dropout",
        "learning_rate",
        "freeze_embedding",
    ]
