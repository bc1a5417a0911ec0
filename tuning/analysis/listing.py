"""The verb `list`: the studies of a results folder, one line each."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from core.errors import UserError, check_rules
from core.io.atomic import file_mode, folder_rule
from core.io.text import printable
from tuning.analysis.ranking import read_assessed
from tuning.formatting import brief_text, left_align, text_table
from tuning.journal.file import is_searched, remote_driver
from tuning.journal.folder import JOURNAL
from tuning.journal.records import ENDED

TITLES = ("study", "data", "trials", "state", "metric", "best", "corrected")
MAX_TEXT = 40
"""Maximum number of terminal cells of a name in the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySummary:
    """One study; fields that do not apply or are not known yet are None."""

    study: str
    """Name of the study's folder."""
    data: str | None = None
    """Name of the dataset, or of its file."""
    trials: int | None = None
    """Number of trials that have ended."""
    goal: int | None = None
    """Number of trials that the last command requested, or of those that exist if there are more."""
    state: str
    """running, complete, ended early, unfinished, or unreadable."""
    metric: str | None = None
    """What the study optimises."""
    best: float | None = None
    """Value of the metric for the best trial."""
    corrected: float | None = None
    """The same, corrected for selection bias."""
    problem: str | None = None
    """Reason why the study cannot be read."""


def list_text(results: Path, form: str) -> str:
    """Return the studies in the folder `results` by name, as `table` or `json`.

    Raises:
        UserError: `results` is no folder, or may not be read.
    """
    check_rules({"--results": folder_rule(results)})
    try:
        folders = sorted(results.iterdir())
    except FileNotFoundError:
        folders = []
    except PermissionError as error:
        raise UserError(f"cannot read {results} ({error.strerror}); ask its owner for access") from error
    found = [summarize_study(folder) for folder in folders if file_mode(folder / JOURNAL)]
    if form == "json":
        return json.dumps([dataclasses.asdict(each) for each in found], indent=2)
    if not found:
        gone = "" if file_mode(results) else ", which does not exist"
        return f"no study in {results}{gone}; run a search, or choose another folder with --results"
    names, data, *others = zip(TITLES, *map(_cells, found), strict=True)
    titles, *cells = zip(left_align(names), left_align(data), *others, strict=True)
    problems = [f"{printable(each.study)}: {printable(each.problem)}" for each in found if each.problem]
    for each in found:
        if each.state == "running" and (driver := remote_driver(results / each.study)):
            problems.append(f"{printable(each.study)}: {driver} may have been killed; this machine cannot see it")
    return "\n".join([*text_table(titles, cells), *problems])


def summarize_study(folder: Path) -> StudySummary:
    """Return the figures of one study; a study that cannot be read has a problem instead of figures."""
    try:
        study = read_assessed(folder, ensemble_size=0)
        best = study.winner
        ended = sum(row.state in ENDED for row in study.rows)
        goal = study.attributes.get("goal", {}).get("trials")
        return StudySummary(
            study=folder.name,
            data=PurePath(study.spec["data"]["dataset"]).name,
            trials=ended,
            goal=goal,
            state=_state(folder, study.attributes, ended, goal),
            metric=study.spec["metric"],
            best=best.val_metric if best else None,
            corrected=best.corrected if best else None,
        )
    except UserError as error:
        return StudySummary(study=folder.name, state="unreadable", problem=str(error))


def _state(folder: Path, attributes: Mapping[str, Any], ended: int, goal: int | None) -> str:
    if is_searched(folder):
        return "running"
    if attributes.get("early_end"):
        return "ended early"
    return "complete" if goal is not None and ended >= goal else "unfinished"


def _cells(study: StudySummary) -> tuple[str, ...]:
    trials = "-" if study.trials is None else f"{study.trials}/{'?' if study.goal is None else study.goal}"
    figures = ("-" if value is None else f"{value:.4f}" for value in (study.best, study.corrected))
    name, data = brief_text(study.study, MAX_TEXT), brief_text(study.data or "-", MAX_TEXT)
    return (name, data, trials, study.state, study.metric or "-", *figures)
