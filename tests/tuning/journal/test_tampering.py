"""A journal in which any value has another shape: one line, or a table, and nothing else."""

import copy
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from tests.support.json_places import Place, container, places
from tests.support.studies import add_plain_baseline, make_study, setting, write_sentences
from tuning.analysis.best import table_of
from tuning.analysis.filters import RowFilter
from tuning.analysis.listing import list_text
from tuning.journal.file import JOURNAL

VALUES: tuple[Any, ...] = (None, True, -1, 1e308, 2**70, "x", "", [], [[]], {}, {"a": {"b": 1}}, [None])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tampered")
    file = write_sentences(folder / "good.csv", 60)
    make_study(folder / "study", file, folder / "cache", setting(), setting(hidden_dim=7), stopped=1)
    add_plain_baseline(folder / "study", folder / "cache")
    return folder / "study"


def tampered(records: list[Any], number: int, place: Place, value: Any) -> str:
    """Return the journal with another value at one place."""
    changed = [*records[:number], copy.deepcopy(records[number]), *records[number + 1 :]]
    container(changed[number], place)[place[-1]] = value
    return "".join(f"{json.dumps(record)}\n" for record in changed)


@pytest.mark.slow
def test_any_other_value_in_a_journal_is_one_line_or_a_table(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place once, epochs as one; five of the values at each place, in turn. Fewer resamples read the same."""
    monkeypatch.setattr("tuning.analysis.ensemble.REPEATS", 10)
    monkeypatch.setattr("tuning.analysis.assessment.REPEATS", 20)
    folder = shutil.copytree(study, tmp_path / "study")
    records = [json.loads(line) for line in (study / JOURNAL).read_text().splitlines()]
    kinds: dict[Place, tuple[int, Place]] = {}
    for number, record in enumerate(records):
        for place in places(record):
            if any(key for key in place if isinstance(key, int)):  # the first value of a list counts for all
                continue
            kinds.setdefault(tuple(str(key).split(":")[0] for key in place), (number, place))
    values, refused = itertools.cycle(VALUES), 0
    problems: list[Any] = []
    for number, place in kinds.values():
        for value in itertools.islice(values, 5):
            (folder / JOURNAL).write_text(tampered(records, number, place, value))
            try:
                table_of(folder, RowFilter(), "table")
                list_text(tmp_path, "json")
            except UserError as error:
                refused += "\n" not in str(error)
            except Exception as error:
                problems.append((place, value, repr(error)))
    assert problems == []
    assert refused > len(kinds)
