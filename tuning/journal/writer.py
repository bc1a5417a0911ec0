"""The study's journal: opened by one driver at a time, repaired, checked and continued.

It is an Optuna `JournalStorage` file, so that Optuna's own tools open it. The study's user attribute `spec` says what
the study is, `validation` what it is judged by, `vocabulary` how many words it has, `inputs` what its corpus was made
from, `audit` what is odd about it, `command` what made it, `ended` which budget ended it, `gpu_share` how its share
of a GPU was chosen, `knowledge` which trials of another study it knew, `readings` when the test split was read,
`confirm:...` what fresh seeds came to. A trial's hold its whole configuration (`config`), where it came from
(`origin`), each epoch (`epoch:3`), which workers had it before (`spells`), what it asked for
where its share of a GPU was too small (`oom`) and what it came to (`outcome`).
"""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from core.errors import ConfigError, UserError
from core.io.atomic import os_errors_as_user_errors
from core.training.result import EpochResult
from tuning.journal.file import JOURNAL, open_journal, study_lock, truncate_partial_line
from tuning.journal.records import Spec, TrialRecord, to_record

TEST_EVALUATIONS = "readings"
"""The study's user attribute that holds the list."""


class StudyJournal:
    """An open journal. Get one from `open_study`."""

    def __init__(self, folder: Path, storage: JournalStorage, study_id: int) -> None:
        self.folder = folder
        self._storage = storage
        self._study_id = study_id
        self._finished: dict[int, TrialRecord] = {}
        self._broken: UserError | None = None

    def trials(self) -> list[FrozenTrial]:
        """All trials by number, as Optuna holds them: not to be changed."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def records(self, start: int = 0, end: int | None = None) -> list[TrialRecord]:
        """Trials `start` to `end` (all by default) by number. What is finished is read from Optuna's trial once."""
        records = []
        for trial in self.trials()[start:end]:
            record = self._finished.get(trial.number) or to_record(trial)
            if trial.state.is_finished():
                self._finished[trial.number] = record
            records.append(record)
        return records

    def add_trial(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        config: Mapping[str, Any],
        origin: str,
    ) -> int:
        """Write down a new running trial; returns its number."""
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs={"config": dict(config), "origin": origin},
        )
        with self._writing():
            trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
        number = self._storage.get_trial_number_from_id(trial_id)
        self.trials()[number].distributions = dict(distributions)  # the space's own instead of equal ones of its own
        return number

    def record_epoch(self, number: int, epoch: EpochResult, val_predictions: Mapping[str, Any] | None = None) -> None:
        """Write down an epoch of a running trial. The same epoch twice is written once.

        Args:
            number: of the trial.
            epoch: what it came to.
            val_predictions: from tuning.journal.predictions.pack_labels, for an epoch that is the trial's best so far.
        """
        trial = self.trials()[number]
        key = f"epoch:{epoch.epoch}"
        if key in trial.user_attrs:
            return
        with self._writing():
            kept = {"val_predictions": dict(val_predictions)} if val_predictions else {}
            # The attribute last: where a kill falls between the two, the epoch comes again and both are written.
            self._storage.set_trial_intermediate_value(trial._trial_id, epoch.epoch, epoch.val_accuracy)
            self._storage.set_trial_user_attr(trial._trial_id, key, {**dataclasses.asdict(epoch), **kept})

    def finish_trial(self, number: int, state: TrialState, outcome: Mapping[str, Any]) -> TrialRecord:
        """Close a trial: its value is the best validation accuracy of its epochs. Its checkpoints go."""
        trial = self.trials()[number]
        best = to_record(trial).best
        with self._writing():
            self._storage.set_trial_user_attr(trial._trial_id, "outcome", dict(outcome))
            value = None if best is None or state == TrialState.FAIL else [best.val_accuracy]
            self._storage.set_trial_state_values(trial._trial_id, state, value)
        shutil.rmtree(self.checkpoint_dir(number), ignore_errors=True)
        return to_record(self.trials()[number])

    def copy_result(self, source: int, number: int) -> TrialRecord:
        """Close trial `number` with the epochs, the state and the outcome of `source`, which is finished."""
        trial = self.trials()[source]
        record = to_record(trial)
        for epoch in record.epochs:
            self.record_epoch(number, epoch, record.val_predictions if epoch == record.best else None)
        return self.finish_trial(number, trial.state, trial.user_attrs["outcome"])

    def set_trial_attr(self, number: int, name: str, value: Any) -> None:
        """Write something down about a running trial."""
        with self._writing():
            self._storage.set_trial_user_attr(self.trials()[number]._trial_id, name, value)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What the study keeps beside its trials."""
        return self._storage.get_study_user_attrs(self._study_id)

    def set_study_attr(self, name: str, value: Any) -> None:
        """Keep something beside the trials, as JSON can hold it; None where it no longer holds."""
        if self.attributes.get(name) != value:
            with self._writing():
                self._storage.set_study_user_attr(self._study_id, name, value)

    def log_test_evaluation(
        self,
        *,
        verb: str,
        trial: int,
        seed: int,
        on: str,
        split: str,
        val_accuracy: float | None,
        test_accuracy: float,
        test_sentences: int,
    ) -> int:
        """Append one evaluation on a test split to the study's list.

        Args:
            verb: `retrain` or `confirm`.
            trial: Number of the trial.
            seed: Seed of the training.
            on: Splits that the model was trained on: `train` or `train+val`.
            split: Rule that made the test split.
            val_accuracy: Validation accuracy of the same weights; None without a validation split.
            test_accuracy: Accuracy on the test split.
            test_sentences: Number of sentences in the test split.

        Returns:
            Number of entries in the list.
        """
        entry = {
            "verb": verb,
            "trial": trial,
            "seed": seed,
            "on": on,
            "split": split,
            "val_accuracy": val_accuracy,
            "test_accuracy": test_accuracy,
            "test_sentences": test_sentences,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        entries = [*self.attributes.get(TEST_EVALUATIONS, ()), entry]
        self.set_study_attr(TEST_EVALUATIONS, entries)
        return len(entries)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Write no more after a write that failed: its torn record would swallow the next one."""
        if self._broken is not None:
            raise self._broken
        try:
            with os_errors_as_user_errors(self.folder / JOURNAL):
                yield
        except UserError as error:
            self._broken = error
            raise

    def checkpoint_dir(self, number: int) -> Path:
        """Where trial `number` keeps its checkpoints while it runs."""
        return self.folder.absolute() / "checkpoints" / f"{number:05d}"


@contextlib.contextmanager
def open_study(folder: Path, spec: Spec, attributes: Mapping[str, Any] | None = None) -> Iterator[StudyJournal]:
    """Open the study in `folder` for writing, or make it.

    Args:
        folder: the study's.
        spec: what the study must be.
        kept: more user attributes for a new study; nothing to one that has begun.

    Raises:
        UserError: another process is running this study.
        ConfigError: the study was made with another spec; every difference is named.
        CorruptionError: the journal is damaged before its last line.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # we say ourselves what happens
    with os_errors_as_user_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with study_lock(folder):
        journal = folder / JOURNAL
        with os_errors_as_user_errors(journal):
            truncate_partial_line(journal)
            # We hold the study's lock: a lock of Optuna's that is still there belongs to a killed process.
            journal.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
            storage = open_journal(journal)
            study_id = _study(storage, folder, spec, attributes or {})
        yield StudyJournal(folder, storage, study_id)


def _study(storage: JournalStorage, folder: Path, spec: Spec, attributes: Mapping[str, Any]) -> int:
    studies = storage.get_all_studies()
    if studies:
        study_id, known = studies[0]._study_id, studies[0].user_attrs.get("spec")
    else:
        study_id, known = storage.create_new_study([StudyDirection.MAXIMIZE], folder.name), None
    wanted = json.loads(json.dumps(spec))  # as the journal gives it back: lists, not tuples
    if known is None:
        for name, value in attributes.items():
            storage.set_study_user_attr(study_id, name, value)
        storage.set_study_user_attr(study_id, "spec", wanted)
    elif differences := _spec_differences(known, wanted):
        raise ConfigError(
            f"study {folder.name!r} was made with {'; '.join(differences)}: "
            "give the same options again, or choose another --name"
        )
    return study_id


def _spec_differences(known: Spec, wanted: Spec) -> list[str]:
    """Where two specs differ. The same data may come from another path: its fingerprint decides."""
    if known.get("fingerprint") == wanted.get("fingerprint"):
        known, wanted = ({k: v for k, v in spec.items() if k != "data"} for spec in (known, wanted))
    return _differences(known, wanted)


def _differences(known: Any, wanted: Any, path: str = "") -> list[str]:
    """Each leaf where two specs differ, as a line."""
    if isinstance(known, Mapping) and isinstance(wanted, Mapping):
        keys = sorted(known.keys() | wanted.keys())
        return [d for key in keys for d in _differences(known.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))]
    if known == wanted:
        return []
    return [f"{path} {_brief(known)}, this command says {_brief(wanted)}"]


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
