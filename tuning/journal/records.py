"""Records of a study's trials, read from its journal at any time. Loads neither torch nor Ray."""

import stat
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from optuna.trial import FrozenTrial, TrialState

from core.config import TrialConfig
from core.errors import ConfigError, CorruptionError, UserError
from core.io.atomic import file_mode
from core.io.text import quoted
from core.metrics import METRICS
from core.training.result import EpochResult, best_epoch, epoch_order
from tuning.journal.folder import JOURNAL, STUDY_FORMAT
from tuning.journal.predictions import Packed, copied_from, journal_damage
from tuning.journal.reader import N_EPOCHS, TEST_EVALUATION, read_journal

Spec = Mapping[str, Any]
PLAIN_BASELINE = "plain_baseline"
"""The study's user attribute with the plain baseline's results (tuning.plain_fit)."""
SEGMENTS = "segments"
"""User attribute of a trial that was paused or lost its worker: its earlier segments (`worker`, `since`, `until`; if it
was paused, `paused` is the number of epochs)."""


class TestEvaluation(TypedDict):
    """One evaluation on a test split: the study's user attribute `test_evaluation:3` is the fourth one."""

    verb: str
    """`retrain`, `confirm`, `ensemble` or `distill`."""
    trial: int | None
    """Number of the trial; None for an ensemble, a distilled model and the plain baseline."""
    seed: int | None
    on: str
    """Splits that the model was trained on: `train` or `train+val`; ` in bf16` follows if the study has another
    precision."""
    split: str
    """Rule that made the test split."""
    time: str
    """When it was made, ISO 8601 in UTC."""
    val_accuracy: float | None
    """Validation accuracy of the same weights; None without a validation split."""
    test_accuracy: float
    test_metric: NotRequired[float]
    """Value of the study's metric, if that is not accuracy and is defined on this split."""
    test_sentences: int
    test_fingerprint: NotRequired[str]
    """Fingerprint of the test split (Corpus.test_fingerprint)."""
    epochs: NotRequired[int]
    """Number of epochs that were trained; a trial that was stopped has fewer."""
    members: NotRequired[Mapping[str, float]]
    """Weights of the members of an ensemble, by the number of the trial or `plain`."""
    calibration: NotRequired[Mapping[str, Any]]
    """Reliability diagrams and log loss `before` and `after` the calibration of a saved model
    (tuning.retrain.calibrated). There are none if the model was not calibrated."""


def is_validated_in_folds(spec: Spec) -> bool:
    """Return whether each epoch is evaluated on all training sentences, by cross-validation (--validation folds:K)."""
    return spec["data"]["validation"] != "split"  # type: ignore[no-any-return]


def evaluations_on_test(attributes: Mapping[str, Any]) -> list[TestEvaluation]:
    """Return all evaluations on a test split, in order, from the study's user attributes."""
    return [value for name, value in attributes.items() if name.startswith(TEST_EVALUATION)]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSegment:
    """A period in which a worker trained a trial."""

    worker: str | None
    """Host and process; None if it died."""
    since: float
    """Start in seconds since 1970."""
    until: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """One trial, as the journal records it."""

    number: int
    state: str
    """COMPLETE, PRUNED (stopped early), FAIL, PAUSED (at a rung, and the study has not ended) or RUNNING."""
    params: Mapping[str, Any]
    """Searched parameters."""
    config: Mapping[str, Any]
    """Every field of its TrialConfig."""
    origin: str
    """Source: baseline, try_first, portfolio, random, sampler, or `copy of 3` if trial 3 has the same settings."""
    epochs: tuple[EpochResult, ...]
    error: str | None
    """Reason of a failure."""
    copy_of: int | None = None
    """Number of the trial whose result is copied; None if the trial is trained."""
    predictions: tuple[Packed | None, ...] = ()
    """Packed validation predictions of each epoch (tuning.journal.predictions); empty if there are none."""
    started: datetime | None = None
    """Local time of its suggestion."""
    ended: datetime | None = None
    """Local time of the end; None until then."""
    segments: tuple[RunSegment, ...] = ()
    """Completed segments in order, without those that a kill or an interruption ended."""
    weights_sha256: str | None = None
    """Digest of the best epoch's weights; None unless the trial is complete."""
    environment: Mapping[str, Any] | None = None
    """Everything besides settings and data on which the results depend (core.nn.environment.runtime_environment); None
    unless the trial is complete."""

    @property
    def trial_config(self) -> TrialConfig:
        """`config`, checked.

        Raises:
            CorruptionError: The journal has a value that no trial can have.
            UserError: A later version of sentune recorded a setting that this version lacks.
        """
        try:
            return TrialConfig.from_dict(self.config)
        except ConfigError as error:
            if unknown := sorted(self.config.keys() - TrialConfig().to_dict().keys()):
                raise UserError(
                    f"trial {self.number} has the setting {quoted(unknown[0])}, which this version of sentune lacks; "
                    "install the version that made the study"
                ) from error
            raise journal_damage(f"the study's journal in trial {self.number}", str(error)) from error

    @property
    def started_at(self) -> float | None:
        """Time of its suggestion in seconds since 1970; None if the journal does not contain it."""
        return self.started.timestamp() if self.started else None

    @property
    def best(self) -> EpochResult | None:
        """The best epoch; None if no epoch has ended."""
        return best_epoch(self.epochs) if self.epochs else None

    @property
    def val_predictions(self) -> Packed | None:
        """Packed validation predictions of its best epoch."""
        best = self.best
        return next((p for epoch, p in zip(self.epochs, self.predictions, strict=False) if epoch is best), None)

    @property
    def seconds(self) -> float:
        """Training time of all epochs in seconds; of a trial that repeats another one, that of the other."""
        return sum(epoch.seconds for epoch in self.epochs)


RANKED = ("COMPLETE", "PRUNED", "PAUSED")
"""States of the trials that are ranked."""
ENDED = ("COMPLETE", "PRUNED", "FAIL")
"""States of the trials that have ended, with those that were opened again and have their result."""
NO_VALUE = (
    "has ended with a value; run the study first, or if its trials failed, fix the cause and choose another --name"
)
"""End of the message about a study of which no trial can be chosen."""


def is_candidate(record: TrialRecord) -> bool:
    """Return whether a trial could have become the best; a trial that repeats another is no further candidate."""
    return record.best is not None and record.state in RANKED and record.copy_of is None


def rank_trials(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that ended or paused with an epoch, best first: by score, then lower loss, then number."""
    ranked = [(best, r) for r in records if (best := r.best) is not None and r.state in RANKED]
    return [r for best, r in sorted(ranked, key=lambda e: (*epoch_order(e[0]), e[1].number))]


def read_study(folder: Path) -> tuple[Mapping[str, Any], list[TrialRecord]]:
    """Return a study's user attributes (`spec`, ...) and the trials that count, by number. Writes nothing.

    The study may be running.

    Raises:
        UserError: There is no study (the message names the others in the same folder), it has not begun, its journal
            cannot be read, or another version of sentune made it.
        CorruptionError: The journal is damaged before its last line.
    """
    journal = folder / JOURNAL
    try:
        journal.lstat()
    except PermissionError as error:
        raise UserError(f"cannot read {journal} ({error.strerror}); ask its owner for access") from error
    except (OSError, ValueError):  # also for a name that is too long
        raise UserError(_no_study(folder)) from None
    try:
        study, trials = read_journal(journal)
    except CorruptionError:
        study_attributes(folder)  # refuses another format, whose trials have other attributes
        raise
    if "spec" not in study:
        raise UserError(f"study {folder.name!r} has not begun; run its command again")
    check_format(study, folder)
    return study, [to_record(trial) for trial in trials[: counted_trials(study)]]


def counted_trials(attributes: Mapping[str, Any]) -> int | None:
    """Return how many trials count, the first ones, after a target or a patience has ended the study; None for all."""
    return (attributes.get("early_end") or {}).get("n_trials")


def _no_study(folder: Path) -> str:
    """Return that there is no study in a folder, and which studies are next to it."""
    found = folder.parent.glob(f"*/{JOURNAL}") if file_mode(folder.parent) else ()
    others = sorted(path.parent.name for path in found)
    none = "the folder has none, run a search first, or pass the study's folder"
    hint = f"choose from {', '.join(others)}" if others else none
    if stat.S_ISDIR(file_mode(folder)) and not others:
        hint = f"{folder} holds no study, pass the name or the folder of one"
    return f"no study {folder.name!r} in {folder.parent}; {hint}"


def study_attributes(folder: Path) -> Mapping[str, Any]:
    """Return the user attributes of the study in `folder` (`spec`, `prior_trials`, ...).

    Empty if there is no study, or if its creation was interrupted before the spec was written.

    Raises:
        UserError: The journal cannot be read, or another version of sentune made the study.
        CorruptionError: The journal is damaged before its last line.
    """
    try:
        attributes = read_journal(folder / JOURNAL, trials=False)[0]
    except CorruptionError:  # the attributes of another format may have other shapes
        check_format(read_journal(folder / JOURNAL, trials=False, part=b'"spec"')[0], folder)
        raise
    check_format(attributes, folder)
    return attributes if "spec" in attributes else {}


def check_format(attributes: Mapping[str, Any], folder: Path) -> None:
    """Refuse a study of another format.

    Raises:
        UserError: Another version of sentune made the study.
    """
    found = attributes.get("spec", {}).get("format", STUDY_FORMAT)
    if found != STUDY_FORMAT:
        raise UserError(
            f"study {folder.name!r} has format {found}, this version of sentune reads {STUDY_FORMAT}; "
            "run the search again with another --name"
        )


def describe_plain(train_sentences: int | None) -> str:
    """Describe the plain baseline, which on large data is fitted on that many sentences of the train split."""
    part = "" if train_sentences is None else f", fitted on only {train_sentences:,} of the training sentences"
    return f"TF-IDF of words and word pairs with logistic regression{part}"


def recorded_epochs(trial: FrozenTrial) -> list[EpochResult]:
    """Return all epochs that were trained, in order."""
    return [to_epoch(written) for written in _written_epochs(trial)]


def _written_epochs(trial: FrozenTrial) -> list[dict[str, Any]]:
    attributes = [value for key, value in trial.user_attrs.items() if key.startswith("epoch:")]
    return sorted(attributes, key=lambda written: int(written["epoch"]))


def to_epoch(written: Mapping[str, Any]) -> EpochResult:
    """Return an epoch from its attribute in the journal."""
    return EpochResult(**{name: written[name] for name in EpochResult.__slots__})


def to_record(trial: FrozenTrial) -> TrialRecord:
    """Return the record of a trial, which Optuna or `read_journal` has read."""
    attrs = trial.user_attrs
    written = _written_epochs(trial)[: attrs.get(N_EPOCHS)]
    result = attrs.get("result", {}) if trial.state != TrialState.PRUNED else {}
    segments = [*attrs.get(SEGMENTS, ()), *([result] if {"since", "until"} <= result.keys() else [])]
    return TrialRecord(
        number=trial.number,
        state=_state(trial, len(written)),
        params=trial.params,
        config=attrs["config"],
        origin=attrs["origin"],
        copy_of=copied_from(attrs["origin"]),
        epochs=tuple(to_epoch(each) for each in written),
        error=result.get("error"),
        weights_sha256=result.get("weights_sha256"),
        environment=result.get("environment"),
        predictions=tuple(each.get("val_predictions") for each in written),
        started=trial.datetime_start,
        ended=trial.datetime_complete,
        segments=tuple(RunSegment(worker=s.get("worker"), since=s["since"], until=s["until"]) for s in segments),
    )


def _state(trial: FrozenTrial, n_epochs: int) -> str:
    """Return a trial's state. Its result decides if it was opened again (StudyJournal.reopen) and is not closed yet."""
    result, segments = trial.user_attrs.get("result"), trial.user_attrs.get(SEGMENTS)
    if trial.state.is_finished():
        return trial.state.name
    if result is not None:
        return "FAIL" if "error" in result else "COMPLETE"
    return "PAUSED" if segments and segments[-1].get("paused") == n_epochs else "RUNNING"


def reopened(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial as StudyJournal.reopen leaves it: open, with all epochs that were trained."""
    opened = copy(trial)
    opened.state = TrialState.RUNNING
    opened.user_attrs = {name: value for name, value in trial.user_attrs.items() if name != N_EPOCHS}
    return opened


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochPoint:
    """Metrics of one epoch at a time."""

    epoch: int
    time: float
    """Seconds since 1970: the start of the trial plus the duration of its epochs up to the end of this one. The epochs
    of a trial that repeats another one take no time."""
    values: dict[str, float]
    """`val_accuracy`, `val_loss`, `train_loss`, `seconds`; `best_val_accuracy` up to this epoch. Another metric has
    values under its own name, too: `val_macro_f1`, `best_val_macro_f1`."""


def epoch_points(record: TrialRecord) -> list[EpochPoint]:
    """Return the trial's epochs in order. They depend only on the journal, so writing them again changes nothing."""
    metric = METRICS[record.config["metric"]]
    points: list[EpochPoint] = []
    seconds, best = 0.0, dict[str, float]()
    for epoch in record.epochs:
        seconds += epoch.seconds if record.copy_of is None else 0.0
        shown = {"val_accuracy": epoch.val_accuracy, f"val_{metric.name}": metric.oriented(epoch.score)}
        for name, value in shown.items():
            better = max if name == "val_accuracy" or metric.higher_is_better else min
            best[f"best_{name}"] = better(value, best.get(f"best_{name}", value))
        others = {"val_loss": epoch.val_loss, "train_loss": epoch.train_loss, "seconds": epoch.seconds}
        time = (record.started_at or 0.0) + seconds
        points.append(EpochPoint(epoch=epoch.epoch, time=time, values=shown | others | best))
    return points


def searched_values(record: TrialRecord, searched: Sequence[str]) -> dict[str, bool | int | float | str]:
    """Return the searched settings; `none` for a setting without a value."""
    return {name: "none" if record.config[name] is None else record.config[name] for name in searched}
