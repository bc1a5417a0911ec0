"""A short run of the generated bad inputs: each is accepted, or refused in one line, and overwrites nothing."""

from collections import Counter
from pathlib import Path

import pytest

from core.data.load import load_corpus
from tests.fuzz import arguments
from tests.fuzz.cases import JOURNAL_COMMANDS, KINDS, case, read_template
from tests.fuzz.oracle import run_call
from tests.fuzz.place import Place, make_place
from tests.fuzz.runner import run_cases

SEED = 1
COUNT = 100
SECONDS = 60.0
"""Of processor time."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # a warning that a user would see is a fault of the case
def test_no_generated_input_gives_a_traceback_or_overwrites_a_file(place: Place) -> None:
    """`python -m tests.fuzz --seed 1 --cases N` repeats one."""
    found = run_cases(place, SEED, range(COUNT), SECONDS)
    assert [f"case {number}: {text}\n{ended.fault}" for number, (_, text, ended) in found.items() if ended.fault] == []
    outcomes = Counter(ended.outcome for _, _, ended in found.values())
    assert outcomes["refused"] > COUNT // 2
    assert set(outcomes) == {"accepted", "refused", "work"}


def test_the_default_dataset_is_not_fetched(place: Place) -> None:
    place.reset()
    ended = run_call(lambda: load_corpus(vectors="none", embedding_dim=4, cache_dir="empty"), place, SECONDS)
    assert (ended.fault, "the stub of the work was reached" in ended.message) == (None, True)


@pytest.mark.slow
def test_the_cases_are_of_every_kind_and_every_verb(place: Place) -> None:
    read_template(place)
    texts = {number: case(SEED, number) for number in range(20 * len(KINDS) * len(arguments.COMMANDS))}
    assert {each.verb for each in texts.values()} >= {*arguments.COMMANDS, "Python API"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [each for each in JOURNAL_COMMANDS if each[0] in ("run", "plan", "distill") and "--warm-start" not in each]
)
def test_a_command_on_an_undamaged_study_is_not_refused(place: Place, words: list[str]) -> None:
    """Otherwise damage behind the check that refuses it would never be read."""
    from tests.fuzz.oracle import run_command

    place.reset()
    ended = run_command(list(words), b"", place, SECONDS)
    assert (ended.fault, ended.outcome in ("accepted", "work")) == (None, True), ended


@pytest.mark.chaos
def test_ten_thousand_inputs(tmp_path: Path) -> None:
    found = run_cases(make_place(tmp_path), 2, range(10_000), SECONDS)
    assert [f"case {number}: {text}\n{ended.fault}" for number, (_, text, ended) in found.items() if ended.fault] == []


def test_a_file_that_is_overwritten_and_a_traceback_are_faults(place: Place) -> None:
    """The oracle finds what it is for."""
    from tests.fuzz.oracle import run_call, run_command
    from tests.fuzz.place import DATA

    def fails() -> None:
        raise KeyError("a")

    assert "KeyError" in str(run_call(fails, place, SECONDS).fault)
    assert run_call(lambda: Path(DATA).write_text(""), place, SECONDS).fault == f"overwritten: {DATA}"
    place.reset()
    assert run_call(lambda: Path(DATA).read_text(), place, SECONDS).fault is None
    assert run_command(["best", "good"], b"", place, SECONDS).outcome == "accepted"
    assert run_command(["best", "gone"], b"", place, SECONDS).outcome == "refused"
