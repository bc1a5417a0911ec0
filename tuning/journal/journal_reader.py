"""What a study's journal says, read without Optuna's storage, which takes seven times as long over thousands of
trials: it copies a trial for each of its records.

The records are Optuna's own (`optuna.storages.journal`); only what a study of ours consists of is read. A test
compares both ways on a real journal.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import TrialState

from core.errors import CorruptionError, UserError
from tuning.journal.reader import check_study, check_trial, kept


class Operation(IntEnum):
    """Optuna's numbers for the records that matter here."""

    SET_STUDY_USER_ATTR = 2
    CREATE_TRIAL = 4
    SET_TRIAL_STATE_VALUES = 6
    SET_TRIAL_USER_ATTR = 8


@dataclass(kw_only=True, slots=True)
class WrittenTrial:
    """A trial as the journal holds it."""

    number: int
    state: TrialState
    params: Mapping[str, Any]
    user_attrs: dict[str, Any]
    datetime_start: datetime | None
    datetime_complete: datetime | None = None


def read_journal(path: Path) -> tuple[dict[str, Any], list[WrittenTrial]]:
    """The study's user attributes and its trials by number; a torn last line is left out. Writes nothing.

    Raises:
        CorruptionError: it is damaged before its last line; the line is named.
        UserError: it cannot be read.
    """
    study: dict[str, Any] = {}
    trials: list[WrittenTrial] = []
    for at, record in _records(path):
        try:
            _apply(record, study, trials)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise _damaged(path, at, f"{type(error).__name__}: {error}") from error
    return study, trials


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number from 1, and record."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): ask its owner to make it readable for you") from error
    for at, line in enumerate(lines[:-1], 1):  # what follows the last line break is torn, or nothing
        try:
            yield at, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _damaged(path, at, str(error)) from error


def _apply(record: dict[str, Any], study: dict[str, Any], trials: list[WrittenTrial]) -> None:
    """Let one record change what is known."""
    match record["op_code"]:
        case Operation.SET_STUDY_USER_ATTR:
            check_study(record["user_attr"])
            study.update({name: kept(value) for name, value in record["user_attr"].items()})
        case Operation.CREATE_TRIAL:
            attributes = record["user_attrs"]
            check_trial(attributes)
            trials.append(
                WrittenTrial(
                    number=len(trials),
                    state=TrialState(record.get("state", TrialState.RUNNING)),
                    params={
                        name: _distribution(record["distributions"][name]).to_external_repr(value)
                        for name, value in record.get("params", {}).items()
                    },
                    user_attrs={**attributes, "config": kept(attributes["config"]), "origin": attributes["origin"]},
                    datetime_start=_local(record.get("datetime_start")),
                )
            )
        case Operation.SET_TRIAL_STATE_VALUES | Operation.SET_TRIAL_USER_ATTR as what:
            trial = trials[record["trial_id"]]
            if trial.state.is_finished():
                return  # Optuna takes no change to it either
            if what == Operation.SET_TRIAL_USER_ATTR:
                check_trial(record["user_attr"])
                trial.user_attrs.update(record["user_attr"])
            else:
                trial.state = TrialState(record["state"])
                trial.datetime_complete = _local(record.get("datetime_complete"))


def _local(moment: str | None) -> datetime | None:
    """In local time and without a zone, as Optuna reads it; since its version 5 it writes UTC."""
    return datetime.fromisoformat(moment).astimezone().replace(tzinfo=None) if moment else None


@functools.lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)


def _damaged(path: Path, line: int, why: str) -> CorruptionError:
    return CorruptionError(
        f"{path} is damaged in line {line} ({why}): put back a copy of it, or start anew with another --name"
    )
