"""A journal in which any value has another shape: one line, or a table, and nothing else."""

import copy
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from tests.support.assessed_studies import FULL_SPEC, attributes, opened, predicting, reading, trial, write_study
from tests.support.json_places import Place, container, places
from tests.support.study_configs import configured, options
from tuning.analysis.best import table_of
from tuning.analysis.filters import RowFilter
from tuning.analysis.listing import list_text
from tuning.journal.folder import JOURNAL

VALUES: tuple[Any, ...] = (None, True, -1, 1e308, 2**70, "x", "", [], [[]], {}, {"a": {"b": 1}}, [None])


BIN = {"low": 0.6, "high": 0.7, "sentences": 200, "confidence": 0.65, "accuracy": 0.75}
DIAGRAM = {"error": 0.1, "log_loss": 0.5, "bins": [BIN]}
READING = reading(0, 0.75, members={"0": 0.4, "plain": 0.6}, calibration={"before": DIAGRAM, "after": DIAGRAM})
TRIALS = [
    trial(0, range(40)),
    trial(1, range(90), state="PRUNED"),
    trial(2, (), state="FAIL", epochs=(), error="TrainingError: the loss is nan"),
    trial(3, range(40), origin="copy of 0"),
    trial(4, range(50), state="PAUSED"),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials of each end, and each attribute that a search or another verb adds."""
    folder = tmp_path_factory.mktemp("tampered") / "study"
    ended = {"reason": "target 0.8 reached by trial 0", "n_trials": 5}
    plain = {"val_predictions": predicting(range(80))}
    write_study(
        folder,
        TRIALS,
        attributes(spec=FULL_SPEC, test_evaluations=[READING], early_end=ended, plain_baseline=plain),
    )
    return folder


def tampered(records: list[Any], number: int, place: Place, value: Any) -> str:
    """Return the journal with another value at one place."""
    changed = [*records[:number], copy.deepcopy(records[number]), *records[number + 1 :]]
    container(changed[number], place)[place[-1]] = value
    return "".join(f"{json.dumps(record)}\n" for record in changed)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, pytest.param(len(VALUES), marks=pytest.mark.chaos)])
def test_any_other_value_in_a_journal_is_one_line_or_a_table(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Each place once, epochs as one; `count` of the values at each place, in turn. Fewer resamples read the same."""
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
    readers = (
        lambda: table_of(folder, RowFilter(), "table"),
        lambda: list_text(tmp_path, "json"),
        lambda: opened(folder),
        lambda: str(configured(options(tmp_path, name="study")).stopping),
    )
    values, refused = itertools.cycle(VALUES), 0
    problems: list[Any] = []
    for number, place in kinds.values():
        for value in itertools.islice(values, count):
            (folder / JOURNAL).write_text(tampered(records, number, place, value))
            for read in readers:
                try:
                    read()
                except UserError as error:
                    refused += "\n" not in str(error)
                except Exception as error:
                    problems.append((place, value, repr(error)))
    assert problems == []
    assert refused > len(kinds)
