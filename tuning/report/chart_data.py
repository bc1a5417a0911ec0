"""The trials of a study for its charts and its table, and the importances of its settings."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from core.errors import is_number
from core.io.text import printable
from core.metrics import METRICS, Metric
from tuning.analysis.ranking import STATES, AssessedStudy, TrialRow
from tuning.analysis.trial_detail import ClassResults, class_results
from tuning.formatting import format_value
from tuning.journal.file import is_searched
from tuning.journal.records import RANKED, RunSegment, TestEvaluation, TrialRecord, evaluations_on_test
from tuning.scheduling.samplers import quiet_optuna
from tuning.space.space import midpoint

MAX_CHARTED = 1000
"""Maximum number of trials shown one by one; the size of the page is proportional."""
KEEP_BEST = MAX_CHARTED // 2
"""Number of best trials among them."""
TREES, DEPTH = 16, 8
"""Size of the random forest for the importances. On 1,000 trials with 18 settings, Optuna's 64 levels took seven times
as long and changed no share by more than 0.02."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChartData:
    """Data of a study for its charts."""

    study: AssessedStudy
    rows: Sequence[Mapping[str, Any]]
    """One JSON object for each trial that is shown, best first."""
    text: str
    """`rows` as JSON, the best last, so that it is drawn on top."""

    @property
    def settings(self) -> list[str]:
        """The searched settings."""
        return list(self.study.rows[0].params) if self.study.rows else []

    @property
    def metric(self) -> Metric:
        """Metric that the study optimises."""
        return METRICS[self.study.rows[0].metric if self.study.rows else "accuracy"]


def chart_data(study: AssessedStudy) -> ChartData:
    """Return the trials of a study for its charts. While the study runs, its unfinished trials are being trained."""
    last = max((each for record in study.records for each in (record.started, record.ended) if each), default=None)
    until = datetime.now() if last is None or is_searched(study.folder) else last
    rows = []
    for row in sample_trials(study):
        record = study.records[row.trial]
        fields = {name: value for name, value in row.to_dict().items() if name != "params"}
        fields |= {"state": STATES[row.state], "kind": _kind(study, record)}
        table = {name: None if value is None else plain(value) for name, value in fields.items()}
        settings = {name: plain(value) for name, value in row.params.items()}
        idle = [at for at, dimension in enumerate(study.space.dimensions) if dimension.name not in record.params]
        curve = [plain(METRICS[row.metric].oriented(epoch.score)) for epoch in record.epochs]
        rows.append({**table, **settings, "idle": idle, "curve": curve, "segments": _segments(record, until)})
    return ChartData(study=study, rows=rows, text=json.dumps(rows[::-1], allow_nan=False))


def sample_trials(study: AssessedStudy) -> Sequence[TrialRow]:
    """Return the rows of about MAX_CHARTED trials at most; the choice is deterministic.

    They are the best trials, the recommended one, the baseline, each trial that was better than all earlier ones, and
    an evenly spaced sample of the rest. The line of the best so far therefore does not change.
    """
    if len(study.rows) <= MAX_CHARTED:
        return study.rows
    always = (row for at, row in enumerate(study.rows) if at < KEEP_BEST or row.baseline or row.recommended)
    kept, highest = {row.trial for row in always}, -math.inf
    for record in sorted((record for _, record in study.ranked), key=lambda record: record.number):
        if record.best is not None and record.best.score > highest:
            kept.add(record.number)
            highest = record.best.score
    rest = [record.number for record in study.records if record.number not in kept]
    room = max(0, MAX_CHARTED - len(kept))
    kept |= {rest[at * len(rest) // room] for at in range(room)}
    return [row for row in study.rows if row.trial in kept]


def _kind(study: AssessedStudy, record: TrialRecord) -> str:
    """Return the kind of a trial: best, baseline, done, stopped, failed, paused or running."""
    if study.winner is not None and record.number == study.winner.trial:
        return "best"
    if record.origin == "baseline" and record.state in RANKED:
        return "baseline"
    return STATES[record.state]


def _segments(record: TrialRecord, until: datetime) -> list[tuple[str, int, int]]:
    """Return worker, start and end, in milliseconds since 1970, of each period in which a worker trained a trial.

    A new trial has no worker yet. A trial that repeats another one has none.
    """
    if record.started is None or record.copy_of is not None:
        return []
    end = record.ended or max(until, record.started)
    whole = RunSegment(worker=f"trial {record.number}", since=record.started.timestamp(), until=end.timestamp())
    segments = record.segments or (whole,)
    return [(each.worker or "lost", round(1000 * each.since), round(1000 * each.until)) for each in segments]


def default_results(study: AssessedStudy) -> ClassResults | None:
    """Return the scores of `study.default_trial` for the classes; None if its predictions were not recorded."""
    row = study.default_trial
    return None if row is None else class_results(study.records[row.trial], study.attributes)


def calibrated_evaluation(study: AssessedStudy) -> TestEvaluation | None:
    """Return the last evaluation on the study's test split of a model that was calibrated; None if there is none."""
    evaluations = reversed(evaluations_on_test(study.attributes))
    return next((each for each in evaluations if each.get("calibration") and each["split"] == study.test_split), None)


def searched_trials(study: AssessedStudy) -> list[tuple[TrialRow, TrialRecord]]:
    """Return the ranked trials that have a searched value of each active setting and repeat no other trial.

    A baseline with a value outside its range is not among them. Conditions on fixed settings hold for all trials.
    """

    def active(config: Mapping[str, Any]) -> Mapping[str, Any]:
        return study.space.resolve(lambda dimension: config[dimension.field])

    own = (pair for pair in study.ranked if pair[0].copy_of is None)
    return [(row, record) for row, record in own if active(record.config).keys() <= record.params.keys()]


def setting_importances(study: AssessedStudy) -> dict[str, float]:
    """Return the share of the metric's variance that each setting explains alone, the largest first, with the sum 1.

    The trials are those of `searched_trials`, whose values must not all be the same. An inactive setting counts with
    the middle of its range, and one of a logarithmic range with its logarithm.

    Source: Hutter, Hoos and Leyton-Brown 2014, An Efficient Approach for Assessing Hyperparameter Importance (ICML).
    """
    own = sorted((row.trial, row.val_metric, record.params) for row, record in searched_trials(study))
    distributions = {dimension.name: dimension.distribution for dimension in study.space.dimensions}
    logs: dict[str, BaseDistribution] = {
        name: FloatDistribution(math.log(each.low), math.log(each.high))
        for name, each in distributions.items()
        if isinstance(each, IntDistribution | FloatDistribution) and each.log
    }
    with quiet_optuna():
        forest = optuna.create_study(direction="maximize")
    for _, value, params in own:
        params = {name: params[name] if name in params else midpoint(each) for name, each in distributions.items()}
        params |= {name: math.log(params[name]) for name in logs}
        forest.add_trial(create_trial(params=params, distributions=distributions | logs, value=value))
    found = get_param_importances(forest, evaluator=FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=0))
    return dict(sorted(((name, float(share)) for name, share in found.items()), key=lambda pair: (-pair[1], pair[0])))


def plain(value: Any) -> int | float | str | None:
    """Return a number with six significant digits (None if it is not finite), and anything else as text."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value if is_number(value) else printable(format_value(value))
