"""README.md and the pages under docs/: what they show runs, and what they name exists."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks.quick_start import COLUMNS, PAIR, shortened
from core.config import METRIC_NAMES
from core.data.vectors import WIDTHS
from tests.support.page_blocks import (
    PAGES,
    ROOT,
    RUN,
    SHOWN,
    Block,
    blocks_of,
    copy_of,
    run_block,
    run_command,
    tiny_workplace,
)
from tests.support.reference_pages import COMMAND, REFERENCE, with_parts
from tuning.cli.app import app
from tuning.journal.folder import STUDY_FORMAT
from tuning.journal.reader import (
    EARLY_END,
    EPOCH,
    EVALUATION,
    FRESH_RUN,
    RESULT,
    SEGMENT,
    SPEC,
    STUDY_SHAPE,
    TRIAL_SHAPE,
)
from tuning.journal.records import rank_trials, read_study
from tuning.scheduling.samplers import SAMPLERS
from tuning.space.load import load_space
from tuning.space.presets import PRESETS

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
WITH_CODE = [page for page in PAGES if any(b.language in RUN and b.reason is None for b in blocks_of(page))]
GROUP: Any = typer.main.get_command(app)
COMMANDS = sorted({c for b in BLOCKS if b.language == "sh" for c in b.commands if c.startswith("sentune ")})
README = PAGES["README.md"].read_text()
QUICK_START = ["run", "best", "retrain", "predict"]
"""Verbs whose output README.md shows."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("pages") / "work"
    with tiny_workplace(folder):
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE)
def test_the_commands_and_python_blocks_of_a_page_run(page: str, workplace: Path, tmp_path: Path) -> None:
    """In order, in a folder with tiny data, without Ray; those of README.md with output are run below."""
    names: dict[str, Any] = {"__name__": "__main__"}
    blocks = [block for block in blocks_of(page) if block.language in RUN and block.reason is None]
    if page == "README.md":
        with_output = [pair["commands"] for pair in PAIR.finditer(README)]
        blocks = [block for block in blocks if block.text not in with_output]
    assert blocks
    with copy_of(workplace, tmp_path / "work"):
        for block in blocks:
            run_block(block, names)  # it asserts that each command succeeds


def test_a_block_that_is_not_run_says_why() -> None:
    assert [(b.page, b.line) for b in BLOCKS if b.reason == ""] == []
    assert [(b.page, b.line, b.language) for b in BLOCKS if b.language not in (*RUN, *SHOWN)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_the_program_understands(command: str) -> None:
    """Also in blocks that are not run: its verb has these options, which take such values."""
    words = shlex.split(command, comments=True)
    _, verb, *rest = words[: next((at for at, word in enumerate(words) if word in (">", "|")), None)]
    if verb.startswith("-"):
        assert verb in {option for parameter in GROUP.params for option in parameter.opts}
    else:
        GROUP.commands[verb].make_context(verb, rest, resilient_parsing="--help" in rest)


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_or_shows_are_there(page: str) -> None:
    text = PAGES[page].read_text()
    linked = [PAGES[page].parent / target for target in re.findall(r"\]\(([^):#]+)(?:#[\w-]+)?\)", text)]
    folders = "core|tuning|tests|benchmarks|results/reference"
    named = [ROOT / name for name in re.findall(rf"`((?:{folders})/[\w./]+)`", text)]
    assert [str(path) for path in [*linked, *named] if not path.exists()] == []


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.text.startswith("settings:")], ids=lambda b: f"{b.page}:{b.line}"
)
def test_a_space_file_on_a_page_is_read(block: Block, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(block.text)
    assert load_space(str(tmp_path / "space.yaml")).dimensions


def test_the_readme_has_at_most_150_lines_and_names_every_verb() -> None:
    assert len(README.splitlines()) <= 150
    rows = re.findall(r"\| \[`(\w+)`\]\(docs/reference/commands.md#sentune-(\w+)\)", README)
    assert {verb for verb, _ in rows} == GROUP.commands.keys()
    assert [row for row in rows if row[0] != row[1]] == []


def test_the_first_version_has_30_lines_in_the_changelog_and_the_log_has_150() -> None:
    _, heading, first = (ROOT / "CHANGELOG.md").read_text().partition("## 0.1.0")
    assert heading
    assert len(first.splitlines()) <= 30
    assert len((ROOT / "results/LOG.md").read_text().splitlines()) <= 150


KINDS = {
    "sentences",
    "rank",
    "training",
    "epoch",
    "REPRODUCED",
    "val",
    "test",
    "...",
    "model",
    "next:",
    "plain:",
    "Trial",
}
"""First words of lines that do not depend on the data; the other lines are rows, settings and conclusions."""


def kinds_of(output: str) -> set[str]:
    return {words[0] for line in output.splitlines() if (words := line.split())} & KINDS


@pytest.mark.slow
def test_the_output_in_the_readme_has_the_shape_of_the_real_one(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data are others here: equal are columns and kinds of lines. The real output is no shorter than the shown."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    pairs = list(PAIR.finditer(README))
    assert [line.split()[1] for pair in pairs for line in pair["commands"].splitlines()] == QUICK_START
    with copy_of(workplace, tmp_path / "work"):
        for pair in pairs:
            real = "".join(map(run_command, pair["commands"].splitlines()))
            assert kinds_of(pair["output"]) - {"..."} <= kinds_of(real)
            shown, now = pair["output"].splitlines(), shortened(real, pair["output"]).splitlines()
            assert len(now) == len(shown)
            assert [line.count("\t") for line in now] == [line.count("\t") for line in shown]
            titles = [
                [line.split() for line in lines if line.startswith("rank ")] for lines in (shown, real.splitlines())
            ]
            assert titles[0] == titles[1][: len(titles[0])]


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.md")), ids=lambda path: path.name)
def test_the_reference_follows_from_the_code(path: Path) -> None:
    assert with_parts(path.read_text()) == path.read_text(), f"run {COMMAND}"


def keys_of(value: Any) -> Iterator[str]:
    """Yield the names of all objects in a JSON value, but not those that depend on the data."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            if name not in (
                "probabilities",
                "settings",
                "splits",
                "unknown_tokens",
                "duplicates_within",
                "duplicates_across",
            ):
                yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "sentune best tickets --trial 0 --format json",
        "sentune plan tickets.csv --trials 8 --format json",
        "sentune data tickets.csv --format json",
        "sentune predict tickets-model words --format json --probabilities",
        "tests/golden/study/confirm.json",  # what the command prints: tests/test_golden.py
    ],
)
def test_the_reference_has_every_field_of_a_command(command: str, workplace: Path) -> None:
    page = (REFERENCE / "fields.md").read_text()
    text = run_command(command) if command.startswith("sentune ") else (ROOT / command).read_text()
    assert [name for name in keys_of(json.loads(text)) if f"`{name}`" not in page] == []


def test_the_reference_has_every_key_of_the_journal() -> None:
    shapes = (STUDY_SHAPE, SPEC, EARLY_END, FRESH_RUN, EVALUATION, TRIAL_SHAPE, EPOCH, RESULT, SEGMENT)
    others = "|".join(name for name in METRIC_NAMES if name != "accuracy")
    names = {re.sub(rf"_({others})$", "_METRIC", name.rstrip("?")) for shape in shapes for name in shape}
    page = (REFERENCE / "file-formats.md").read_text()
    assert sorted(name for name in names if f"`{name}`" not in page) == []
    assert f"The study format is {STUDY_FORMAT}." in page


def test_each_measurement_begins_with_its_question_and_the_answer() -> None:
    for path in (ROOT / "results" / "reference").glob("*.md"):
        question, answer = [line for line in path.read_text().splitlines() if line][:2]
        assert re.fullmatch(r"# [A-Z].*\?", question), path.name
        assert re.match(r"(\*\*)?[A-Z0-9]", answer), path.name
        assert "Measured" not in answer, path.name


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if "optuna.load_study" in b.text], ids=lambda b: f"{b.page}:{b.line}"
)
def test_optuna_reads_a_study_as_a_page_says(block: Block, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reading changes nothing in the journal."""
    name = re.findall(r'study_name="([\w-]+)"', block.text)[0]
    folder = Path("results") / name
    before = (folder / "study.journal").read_bytes()
    run_block(block, {})
    best = rank_trials([record for record in read_study(folder)[1] if record.state == "COMPLETE"])[0]
    assert best.best is not None
    assert capsys.readouterr().out.splitlines()[0] == f"{best.number} {best.best.val_accuracy}"
    assert (folder / "study.journal").read_bytes() == before


def test_the_guide_has_the_accuracies_of_the_recorded_peers() -> None:
    lines = (ROOT / "results/reference/peers.jsonl").read_text().splitlines()
    found = {(row["set"], row["peer"]): row["test_accuracy"] for row in map(json.loads, lines)}
    page = (ROOT / "docs/guides/autogluon-ludwig.md").read_text()
    for name, title in {"snippets": "movie snippets", "trec": "TREC", "mpqa": "MPQA"}.items():
        values = [found[name, peer] for peer in ("sentune", "sentune-ensemble", "autogluon", "ludwig")]
        assert f"| {title} | {' | '.join(f'{100 * value:.1f}' for value in values)} |" in page


CHOICES = {"unequal-classes": METRIC_NAMES, "search-space": (*SAMPLERS, *PRESETS), "languages": tuple(WIDTHS)}


@pytest.mark.parametrize(("page", "names"), CHOICES.items())
def test_a_table_of_choices_has_a_row_for_each(page: str, names: tuple[str, ...]) -> None:
    cells = " ".join(re.findall(r"^\| ([^|]*) \|", PAGES[f"docs/how-to/{page}.md"].read_text(), re.MULTILINE))
    assert [name for name in names if f"`{name}`" not in cells] == []
