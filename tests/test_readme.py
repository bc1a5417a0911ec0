"""README.md and the other pages name verbs, options and files that exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tuning.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
SHELL = "".join(block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL))
COMMANDS = sorted(set(re.findall(r"^(sentune [^#\n]+)", SHELL, flags=re.MULTILINE)))


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    verbs = {shlex.split(command)[1] for command in COMMANDS}
    return {verb: CliRunner().invoke(app, [verb, "--help"]).stdout for verb in verbs}


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


def test_every_option_of_run_stands_in_the_readme(helps: dict[str, str]) -> None:
    options = set(re.findall(r"^  (--[\w-]+)", helps["run"], flags=re.MULTILINE)) - {"--help"}
    assert len(options) >= 30
    assert sorted(option for option in options if not re.search(rf"{option}(?![\w-])", README)) == []


def test_the_space_file_in_the_readme_is_read(tmp_path: Path) -> None:
    from tuning.space.load import load_space

    (tmp_path / "space.yaml").write_text(re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)[0])
    space = load_space(str(tmp_path / "space.yaml"))
    assert [d.name for d in space.dimensions] == [
        "n_layers",
        "hidden_dim",
        "lstm_dropout",
        "learning_rate",
        "freeze_embedding",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_or_shows_are_there(page: Path) -> None:
    text = page.read_text()
    linked = [page.parent / target for target in re.findall(r"\]\(([^):#]+)\)", text)]
    folders = "core|tuning|tests|benchmarks|results/reference"
    named = [ROOT / name for name in re.findall(rf"`((?:{folders})/[\w./]+)`", text)]
    assert [str(path) for path in [*linked, *named] if not path.exists()] == []


@pytest.mark.slow
def test_the_page_for_optuna_users_reads_a_study_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading changes nothing in the journal."""
    from tests.support.recorded_study import record_study
    from tuning.journal.records import rank_trials, read_study

    journal = tmp_path / "results" / "snippets-quick" / "study.journal"
    record_study(journal.parent)
    before = journal.read_bytes()
    page = (ROOT / "docs" / "guides" / "ray-tune.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    complete = [record for record in read_study(journal.parent)[1] if record.state == "COMPLETE"]
    best = rank_trials(complete)[0]
    assert ran.stdout.splitlines()[0] == f"{best.number} {best.best.val_accuracy}"  # type: ignore[union-attr]
    assert journal.read_bytes() == before
