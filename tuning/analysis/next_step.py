"""The next step of a study: train the recommended trial again, make the ensemble, or search longer.

`run`, `best` and the page follow this one decision. The plain baseline costs no search, so a trial that is expected to
be worse is not proposed. The best trial is proposed instead if it is expected to be better, and the ensemble is not
expected to be better than it. Otherwise it is the ensemble, if this contains the plain baseline and is not expected to
be worse. The ensemble also comes first if it alone is shown to beat the plain baseline.
"""

from dataclasses import dataclass
from pathlib import Path

from core.metrics import METRICS
from tuning.analysis.assessment import PLAIN, Reference, StudyAssessment
from tuning.analysis.ensemble import EnsembleEstimate
from tuning.analysis.ranking import AssessedStudy, TrialRow
from tuning.analysis.selection_bias import FEW_SENTENCES, FIXED
from tuning.console import in_callers_terms, study_command
from tuning.journal.records import counted_trials

NOT_BEATEN = "the search is not shown to beat the plain baseline"
LONGER = "run more trials, or more epochs under another name"
"""Advice if neither a trial nor the ensemble is expected to be as good as the plain baseline."""
WITHOUT_GOAL = "search without the --target or --patience-trials that ended it, or for more epochs under another --name"
"""The same advice for a study that one of the two has ended: with it, no further trial would be trained."""
MORE_SENTENCES = (
    f"fewer than {FEW_SENTENCES} validation sentences show no gain; label more sentences, or unless the study has "
    "folds, search with --validation folds:5 and another --name"
)
"""The advice with so few, however long the search is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NextStep:
    """What to do with a study that has a best trial."""

    verb: str | None
    """`retrain` or `ensemble`; None if neither would give a model as good as the plain baseline."""
    trial: int
    """The recommended trial, or the best one if none is recommended, or if only the best one is better than plain."""
    remark: str | None
    """How the search compares with the plain baseline, and what follows. None if it is shown to beat it, or if there is
    no plain baseline or no corrected gain."""

    def command(self, folder: Path, ending: str = "") -> str | None:
        """Return the command line of the verb, with options at its end, or the call of the Python API."""
        if self.verb is None:
            return None
        trial = self.trial if self.verb == "retrain" else None
        return study_command(self.verb, folder, ending, trial=trial)


def next_step(study: AssessedStudy) -> NextStep | None:
    """Decide on the next step; None if no trial has ended with a value, or if nothing was learned at all."""
    row, assessment = study.default_trial, study.assessment
    if row is None:
        return None
    trial = row.trial
    plain = next((reference for reference in assessment.references if reference.name == PLAIN), None)
    if assessment.nothing_learned:
        better = plain is not None and _is_worse(row, assessment, plain)
        return NextStep(verb=None, trial=trial, remark=f"{NOT_BEATEN}; {_advice(study)}") if better else None
    gain, ensemble = assessment.gain_over_plain, assessment.ensemble
    if plain is None:
        return NextStep(verb="retrain", trial=trial, remark=None)
    is_worse = _is_worse(row, assessment, plain)
    if gain is not None and gain.interval.low > 0:  # which is the gain of the best trial
        best = study.winner.trial if is_worse and study.winner else trial
        return NextStep(verb="retrain", trial=best, remark=None)
    if ensemble and ensemble.gain_over_plain and ensemble.gain_over_plain.interval.low > 0:
        return NextStep(verb="ensemble", trial=trial, remark="only the ensemble is shown to beat the plain baseline")
    if gain is None and not is_worse:  # without a corrected gain, nothing more can be concluded
        return NextStep(verb="retrain", trial=trial, remark=None)
    remark = NOT_BEATEN
    if gain is not None and gain.interval.high < 0:
        remark = "the plain baseline is better than the best trial"
    only_best = study.winner if is_worse and gain is not None and gain.value > 0 else None
    if is_worse and ensemble and (ensemble.gains or only_best is None) and (promise := _promise(ensemble)):
        return NextStep(verb="ensemble", trial=trial, remark=f"{remark}; {promise}")
    if only_best is not None:
        return NextStep(verb="retrain", trial=only_best.trial, remark=f"{remark}; {_advice(study)}")
    return NextStep(verb=None if is_worse else "retrain", trial=trial, remark=f"{remark}; {_advice(study)}")


def _advice(study: AssessedStudy) -> str:
    sentences = study.assessment.sentences
    if sentences is not None and sentences < FEW_SENTENCES:
        return in_callers_terms(MORE_SENTENCES)
    return LONGER if counted_trials(study.attributes) is None else in_callers_terms(WITHOUT_GOAL)


def _is_worse(row: TrialRow, assessment: StudyAssessment, plain: Reference) -> bool:
    """Return whether the trial's value, corrected if that is possible, is worse than the plain baseline's."""
    oriented = METRICS[plain.metric].oriented
    value = assessment.recommended_corrected.value if assessment.recommended_corrected else row.val_metric
    other = plain.accuracy if plain.metric == "accuracy" else plain.value
    return value is not None and other is not None and oriented(value) < oriented(other)


def _promise(ensemble: EnsembleEstimate) -> str | None:
    """Return why to make an ensemble if the trial is worse than the plain baseline; None if there is no reason."""
    if FIXED not in ensemble.counts:
        return None
    if len(ensemble.counts) == 1:
        return "the ensemble consists of it alone"
    gain = ensemble.gain_over_plain
    return "an ensemble with it is expected to be better" if gain and gain.value > 0 else None
