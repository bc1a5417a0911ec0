"""Rows of a study's table, best first, the columns that show them, and a whole study with its assessment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.metrics import METRICS
from core.stats import Interval, wilson
from tuning.analysis.assessment import PLAIN, HeldOutResult, StudyAssessment, assess
from tuning.analysis.ensemble import SIZE, EnsembleEstimate
from tuning.analysis.selection_bias import FIXED, Corrected
from tuning.formatting import format_value
from tuning.journal.records import TrialRecord, rank_trials, read_study
from tuning.space.space import Space

STATES = {"COMPLETE": "done", "PRUNED": "stopped", "FAIL": "failed", "PAUSED": "paused", "RUNNING": "running"}
"""Names of the journal's states for users."""
BASELINE_NOTE = "* the baseline: two LSTM layers of width 128, not tuned"
"""Line below tables with a row of the baseline."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRow:
    """One trial in the table. A field is None if it is unknown or does not apply."""

    rank: int | None
    """Place by the metric, from 1; none for a trial that failed or is running."""
    trial: int
    """Number of the trial, from 0. Instead: `ensemble`, `plain` (plain baseline) or `major` (majority class)."""
    metric: str
    """Metric that the study optimises."""
    val_metric: float | None
    """Value of the metric on the validation split, at the best epoch."""
    val_accuracy: float | None
    """Share of the validation sentences that are classified correctly at the best epoch, from 0 to 1."""
    best_epoch: int | None
    """Epoch with the best value of the metric, from 1."""
    epochs: int
    """Number of epochs trained; of a trial that repeats another one, those of the other."""
    seconds: float
    """Training time in seconds; of a trial that repeats another one, that of the other."""
    state: str
    """COMPLETE, PRUNED (stopped early), FAIL, PAUSED (at a rung, and the study has not ended) or RUNNING.
    ENSEMBLE and REFERENCE for the rows that are no trials."""
    baseline: bool
    """True for the baseline: two LSTM layers of 128, not tuned."""
    origin: str
    """How the settings were chosen: `baseline`, `try_first`, `portfolio` (--first-trials), `random` (drawn at random,
    whatever the results are), `sampler`, or `copy of N`."""
    copy_of: int | None
    """Number of the earlier trial with the same settings, whose result this trial takes."""
    error: str | None
    """Why the trial failed."""
    interval_low: float | None
    """Lower end of the 95% interval (Wilson) of `val_accuracy`, as if the trial had not been selected."""
    interval_high: float | None
    """Upper end of this interval."""
    gain_over_baseline: float | None
    """By how much `val_metric` is better than that of the baseline; not corrected for selection bias."""
    corrected_gain: float | None
    """On the best row: `gain_over_baseline`, corrected for selection bias."""
    corrected_gain_low: float | None
    """Lower end of the 95% interval of `corrected_gain`."""
    corrected_gain_high: float | None
    """Upper end of this interval."""
    tied: bool | None
    """True if the trial is not shown to be worse than the best one; always true for the best."""
    recommended: bool
    """True for the recommended trial: within one standard error of the best, and no such trial costs less than half."""
    useless: str | None
    """Why the trial is never recommended: `one class` (it predicts one class only) or `not better` (than the majority
    class)."""
    weight: float | None
    """Share of the trial, or of the plain baseline, in the ensemble; none if it is no member."""
    difference: float | None
    """On the rows of the recommended trial and of the ensemble: by how much it is better than the best trial, corrected
    for selection bias."""
    difference_low: float | None
    """Lower end of the 95% interval of `difference`."""
    difference_high: float | None
    """Upper end of this interval."""
    multiplications: int
    """Number of multiplications per word in prediction."""
    n_parameters: int
    """Number of trained parameters; frozen word vectors do not count."""
    corrected: float | None
    """On the rows of the best trial, the recommended trial and the ensemble: `val_metric`, corrected for selection
    bias."""
    corrected_low: float | None
    """Lower end of the 95% interval of `corrected`."""
    corrected_high: float | None
    """Upper end of this interval."""
    test_metric: float | None
    """Value of the metric on the test split, the mean over the same seeds as `test_accuracy`; none if it is not
    stored."""
    test_accuracy: float | None
    """Accuracy on the test split of models that learned from the training split alone, the mean over their seeds; none
    before `retrain`, `ensemble` or `confirm`. On the ensemble's row: of the last ensemble, if these are its members."""
    test_low: float | None
    """Lower end of the 95% interval of `test_accuracy` on one split."""
    test_high: float | None
    """Upper end of this interval."""
    test_evaluations: int
    """Number of evaluations of this trial on test sentences, of any split."""
    params: Mapping[str, Any]
    """Searched settings, also those that are inactive in this trial. An object in JSON; in CSV a column each, after all
    others."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields in the order of JSON and CSV."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialColumn:
    """Column of the text and Markdown tables. JSON and CSV have every field of TrialRow, unformatted."""

    field: str
    title: str
    format: Callable[[Any], str] = format_value
    """Format of a value that is not None."""
    cell: Callable[[TrialRow], str] | None = None
    """Function that returns the content, if it is not the formatted field."""
    dispensable: int = 0
    """Order in which a text table that is too wide drops columns, from 1; 0 is never."""

    def text(self, row: TrialRow) -> str:
        """Return the cell of a text or Markdown table."""
        value = getattr(row, self.field)
        if value is None:
            return "-"
        return self.cell(row) if self.cell else self.format(value)


_FOUR = "{:.4f}".format
COLUMNS = (
    TrialColumn(field="rank", title="rank"),
    TrialColumn(
        field="trial",
        title="trial",
        cell=lambda row: f"{row.trial}{'*' * row.baseline}{'+' * row.recommended}{'-' * (row.useless is not None)}",
    ),
    TrialColumn(field="val_metric", title="metric", format=_FOUR),
    TrialColumn(field="val_accuracy", title="val acc", format=_FOUR),
    TrialColumn(
        field="interval_low",
        title="interval",
        cell=lambda row: f"{row.interval_low:.3f}-{row.interval_high:.3f}",
        dispensable=2,
    ),
    TrialColumn(field="gain_over_baseline", title="gain", format="{:+.3f}".format, dispensable=1),
    TrialColumn(field="tied", title="tied"),
    TrialColumn(field="best_epoch", title="best"),
    TrialColumn(field="epochs", title="epochs"),
    TrialColumn(field="seconds", title="sec", format="{:.1f}".format),
    TrialColumn(field="state", title="state", format=STATES.__getitem__),
)
"""Columns of the text and Markdown tables in their order."""
MAIN = (
    *("rank", "trial", "val_metric", "val_accuracy", "best_epoch", "epochs", "seconds", "state", "tied"),
    *("recommended", "baseline"),
)
"""Fields that precede the settings on the report page and in a data frame; the other ones follow them."""


def columns_of(rows: Sequence[TrialRow], name: str) -> list[TrialColumn]:
    """Return the columns of a table of these rows: accuracy, and the metric if it is another one.

    Without a baseline there is no gain. Without rows, the metric has this name.
    """
    metric = METRICS[rows[0].metric if rows else name]
    hidden = ["val_metric"] if metric.name == "accuracy" else []
    if all(row.gain_over_baseline is None for row in rows):
        hidden.append("gain_over_baseline")
    shown = [column for column in COLUMNS if column.field not in hidden]
    return [replace(each, title=metric.title) if each.field == "val_metric" else each for each in shown]


def other_fields(assessment: StudyAssessment) -> list[dict[str, Any]]:
    """Return the ensemble and the references as fields of a TrialRow: `trial` is a name, other fields may be None.

    The difference of the ensemble is that to the best trial.
    """
    weights = shares(assessment.ensemble) if assessment.ensemble else {}
    found: list[dict[str, Any]] = []
    if ensemble := assessment.ensemble:
        made = assessment.held_out_ensemble
        test = made if made and made.members == weights else None
        found.append(
            {
                "trial": "ensemble",
                "metric": ensemble.metric,
                "val_metric": ensemble.corrected.raw,
                "val_accuracy": ensemble.corrected.raw if ensemble.metric == "accuracy" else None,
                "state": "ENSEMBLE",
                "multiplications": ensemble.multiplications,
                **_figure("difference", ensemble.gain),
                **_figure("corrected", ensemble.corrected),
                **_test(test, ensemble.metric),
            }
        )
    for reference in assessment.references:
        fields = {
            "trial": reference.name,
            "metric": reference.metric,
            "val_metric": reference.value,
            "val_accuracy": reference.accuracy,
            "state": "REFERENCE",
            "weight": weights.get(reference.name),
            **_ends("interval", reference.interval),
        }
        found.append(fields)
    return [dict.fromkeys(TrialRow.__slots__) | {"params": {}} | fields for fields in found]


def trial_rows(records: Sequence[TrialRecord], searched: Sequence[str], assessment: StudyAssessment) -> list[TrialRow]:
    """Return rows by the metric on the validation split; ties by lower validation loss, then lower number.

    Failed trials follow, then trials that have not ended.

    Args:
        records: Trials of a study.
        searched: TrialConfig fields that the study's space searches, in order.
        assessment: Assessment, for the columns that need stored predictions and test evaluations.
    """
    ended = rank_trials(records)
    ranks = {record.number: rank for rank, record in enumerate(ended, 1)}
    rest = sorted((r for r in records if r.number not in ranks), key=lambda record: record.state != "FAIL")
    baseline = next((r.best.score for r in ended if r.origin == "baseline" and r.best), None)
    return [_row(record, ranks.get(record.number), searched, baseline, assessment) for record in (*ended, *rest)]


def _row(
    record: TrialRecord, rank: int | None, searched: Sequence[str], baseline: float | None, assessment: StudyAssessment
) -> TrialRow:
    number, best, metric = record.number, record.best, METRICS[record.config["metric"]]
    accuracy = best.val_accuracy if best else None
    interval = None
    if accuracy is not None and assessment.sentences:
        interval = wilson(round(accuracy * assessment.sentences), assessment.sentences)
    recommended = assessment.recommended == number
    corrected = assessment.corrected if rank == 1 else assessment.recommended_corrected if recommended else None
    corrected_gain = assessment.corrected_gain if rank == 1 else None
    difference = assessment.difference if recommended else None
    test = assessment.held_out.get(number)
    gain = None if rank is None or best is None or baseline is None else best.score - baseline
    return TrialRow(
        rank=rank,
        trial=number,
        metric=metric.name,
        val_metric=metric.oriented(best.score) if best else None,
        val_accuracy=accuracy,
        best_epoch=best.epoch if best else None,
        epochs=len(record.epochs),
        seconds=round(record.seconds, 3),
        state=record.state,
        baseline=record.origin == "baseline",
        origin=record.origin,
        copy_of=record.copy_of,
        error=record.error,
        **_ends("interval", interval),
        gain_over_baseline=gain,
        **_figure("corrected_gain", corrected_gain),
        tied=assessment.tied.get(number),
        recommended=recommended,
        useless=assessment.useless.get(number),
        weight=assessment.ensemble.weights.get(number) if assessment.ensemble else None,
        **_figure("difference", difference),
        multiplications=assessment.multiplications[number],
        n_parameters=assessment.n_parameters[number],
        **_figure("corrected", corrected),
        **_test(test, metric.name),
        test_evaluations=sum(entry["trial"] == number for entry in assessment.test_evaluations),
        params={name: record.config[name] for name in searched},
    )


def shares(ensemble: EnsembleEstimate) -> dict[str, float]:
    """Return the weights of the members by the number of the trial or PLAIN; the sum is 1."""
    return {PLAIN if number == FIXED else str(number): weight for number, weight in ensemble.weights.items()}


def _test(found: HeldOutResult | None, metric: str) -> dict[str, Any]:
    value = None if found is None else found.accuracy if metric == "accuracy" else found.metric
    accuracy, interval = (found.accuracy, found.interval) if found else (None, None)
    return {"test_metric": value, "test_accuracy": accuracy, **_ends("test", interval)}


def _figure(name: str, found: Corrected | None) -> dict[str, Any]:
    return {name: found.value if found else None, **_ends(name, found.interval if found else None)}


def _ends(name: str, interval: Interval | None) -> dict[str, Any]:
    return {
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class AssessedStudy:
    """A study with its assessment."""

    folder: Path
    attributes: Mapping[str, Any]
    """User attributes of the study: spec, audit, command, validation, ..."""
    records: Sequence[TrialRecord]
    """All trials by number."""
    assessment: StudyAssessment
    rows: Sequence[TrialRow]
    """Rows of `best --format json`, best first, for all trials."""
    space: Space

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.folder.absolute().name

    @property
    def spec(self) -> Mapping[str, Any]:
        """The study's spec."""
        return self.attributes["spec"]  # type: ignore[no-any-return]

    @property
    def test_split(self) -> str | None:
        """Rule that made the test split; None if there are no test sentences."""
        if self.attributes["audit"].get("splits", {}).get("test") == 0:
            return None
        return self.spec["data"]["split"]  # type: ignore[no-any-return]

    @property
    def ranked(self) -> list[tuple[TrialRow, TrialRecord]]:
        """Rows and records of the ranked trials, best first."""
        return [(row, self.records[row.trial]) for row in self.rows if row.rank is not None]

    @property
    def winner(self) -> TrialRow | None:
        """The best ranked trial; None if there is none."""
        return next((row for row in self.rows if row.rank == 1), None)

    @property
    def recommended(self) -> TrialRow | None:
        """The recommended trial; None if no trial may be recommended."""
        return next((row for row in self.rows if row.recommended), None)

    @property
    def default_trial(self) -> TrialRow | None:
        """The trial that `retrain` uses by default: the recommended one, else the best."""
        return self.recommended or self.winner


def read_assessed(folder: Path, *, ensemble_size: int = SIZE) -> AssessedStudy:
    """Read and assess a study.

    Args:
        folder: Folder of the study.
        ensemble_size: Number of selections of the ensemble; 0 for no ensemble.

    Raises:
        UserError: There is no such study, another version of sentune made it, or it cannot be read.
        CorruptionError: Its journal or its stored probabilities are damaged.
    """
    attributes, records = read_study(folder)
    assessment = assess(records, attributes, folder, ensemble_size=ensemble_size)
    space = Space.from_dict(attributes["spec"]["space"])
    return AssessedStudy(
        folder=folder,
        attributes=attributes,
        records=records,
        assessment=assessment,
        rows=trial_rows(records, space.searched_fields, assessment),
        space=space,
    )
