"""The study's journal, opened for writing by one driver at a time: repaired, checked and continued.

The journal is an Optuna `JournalStorage` file, which Optuna's tools can open. docs/reference/file-formats.md lists the
attributes of the study and of its trials.
"""

import contextlib
import dataclasses
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from core.errors import ConfigError, UserError
from core.io.atomic import atomic_write, os_errors_as_user_errors
from core.io.text import last_part, printable
from core.training.result import EpochResult
from tuning.formatting import truncate
from tuning.journal.file import open_journal, study_lock, truncate_partial_line
from tuning.journal.folder import JOURNAL
from tuning.journal.predictions import DAMAGE, Packed, journal_damage
from tuning.journal.probabilities import epoch_name, save_probabilities, trial_name
from tuning.journal.reader import N_EPOCHS, TEST_EVALUATION, check_written_trial, closes_trial, strict
from tuning.journal.records import (
    Spec,
    TestEvaluation,
    TrialRecord,
    check_format,
    evaluations_on_test,
    recorded_epochs,
    to_record,
)

MEASURED = ("val_accuracy", "test_accuracy", "test_sentences", "test_fingerprint", "epochs", "members", "calibration")
"""Keys of a TestEvaluation that are figures of the model."""
DERIVED = {
    **dict.fromkeys(("fingerprint", "embedding_dim"), ("data.",)),
    **dict.fromkeys(("first_trials.sha256", "first_trials.trials"), ("space.", "warm_start")),
    "data.seed": ("seed ",),
}
"""Keys of the spec that follow from another one, and how that one may begin."""


class StudyJournal:
    """An open journal. Get one from `open_study`.

    Each method that writes raises UserError if the journal cannot be written, and from then on each time.
    """

    def __init__(self, folder: Path, storage: JournalStorage, study_id: int) -> None:
        self.folder = folder
        self._storage = storage
        self._study_id = study_id
        self._broken: UserError | None = None

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number, as Optuna stores them: do not change them."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial as Optuna stores it: do not change it. Its id in Optuna is its number."""
        return self._storage.get_trial(number)

    def records(self) -> list[TrialRecord]:
        """Return the records of all trials by number."""
        return [to_record(trial) for trial in self.trials()]

    def add_trial(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        config: Mapping[str, Any],
        origin: str,
    ) -> int:
        """Record a new running trial; return its number."""
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs={"config": dict(config), "origin": origin},
        )
        with self._writing():
            new = len(self.trials())
            if self.checkpoint_dir(trial_name(new)).exists():  # of an earlier study here, whose journal was deleted
                self.remove_checkpoints(new)
            number = self._storage.create_new_trial(self._study_id, template_trial=template)
        self.trial(number).distributions = dict(distributions)  # the space's objects instead of equal copies
        return number

    def record_epoch(
        self, number: int, epoch: EpochResult, val_predictions: Packed | None = None, log_odds: str | None = None
    ) -> None:
        """Record an epoch of a running trial. A repeated epoch is not recorded again.

        Args:
            number: Number of the trial.
            epoch: Result of the epoch.
            val_predictions: Result of tuning.journal.predictions.pack_labels.
            log_odds: Result of tuning.journal.probabilities.pack_log_odds, if the epoch is the trial's best so far.
        """
        key = f"epoch:{epoch.epoch}"
        if key in self.trial(number).user_attrs:
            return
        with self._writing():
            if log_odds:
                save_probabilities(self.folder, epoch_name(number, epoch.epoch), log_odds)
            kept = {"val_predictions": dict(val_predictions)} if val_predictions else {}
            # The attribute last: after a kill between the two, the epoch is repeated and both are written.
            self._storage.set_trial_intermediate_value(number, epoch.epoch, epoch.score)
            self._storage.set_trial_user_attr(number, key, {**dataclasses.asdict(epoch), **kept})

    def finish_trial(
        self, number: int, state: TrialState, result: Mapping[str, Any] | None, n_epochs: int
    ) -> TrialRecord:
        """Close a trial, and remove its checkpoints. Its value is the best score of its epochs.

        Args:
            number: Number of the trial.
            state: COMPLETE, PRUNED or FAIL.
            result: Result of the worker; None for a trial that was stopped at a rung.
            n_epochs: Maximum number of epochs that count.
        """
        trial = self.trial(number)
        epochs = recorded_epochs(trial)
        with self._writing():
            if result is not None and trial.user_attrs.get("result") != result:
                self._storage.set_trial_user_attr(number, "result", dict(result))
            if len(epochs) > n_epochs:
                self._storage.set_trial_user_attr(number, N_EPOCHS, n_epochs)
            best = max((epoch.score for epoch in epochs[:n_epochs]), default=None)
            value = None if best is None or state == TrialState.FAIL else [best]
            self.remove_checkpoints(number)  # before the trial is closed: no later command would remove them
            self._storage.set_trial_state_values(number, state, value)
        return to_record(self.trial(number))

    def copy_result(self, source: int, number: int) -> TrialRecord:
        """Close trial `number` with the epochs, the state and the result of the finished trial `source`."""
        trial = self.trial(source)
        record = to_record(trial)
        for epoch, predictions in zip(record.epochs, record.predictions, strict=True):
            self.record_epoch(number, epoch, predictions)
        result = None if trial.state == TrialState.PRUNED else trial.user_attrs["result"]
        return self.finish_trial(number, trial.state, result, len(record.epochs))

    def reopen(self) -> None:
        """Open all trials again. With more trials, or without a target, some of them are trained further.

        The journal is replaced as a whole by one without the records that close trials. All epochs and results remain.
        """
        journal = self.folder / JOURNAL
        with self._writing():
            lines = [line for line in journal.read_bytes().splitlines(keepends=True) if not closes_trial(line)]
            atomic_write(journal, b"".join(lines))
            self._storage = open_journal(journal)

    def set_trial_attr(self, number: int, name: str, value: Any) -> None:
        """Set a user attribute of a running trial."""
        with self._writing():
            self._storage.set_trial_user_attr(number, name, value)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """User attributes of the study; a missing one is a CorruptionError."""
        found: Mapping[str, Any] = strict(self._storage.get_study_user_attrs(self._study_id))
        return found

    def set_study_attr(self, name: str, value: Any) -> None:
        """Set a user attribute of the study to a JSON value; None to invalidate it."""
        if self.attributes.get(name) != value:
            with self._writing():
                self._storage.set_study_user_attr(self._study_id, name, value)

    @property
    def test_evaluations(self) -> list[TestEvaluation]:
        """All evaluations on a test split so far."""
        return evaluations_on_test(self.attributes)

    def log_test_evaluation(
        self, figures: Mapping[str, Any], *, verb: str, trial: int | None, seed: int | None, on: str, split: str
    ) -> None:
        """Record an evaluation on a test split, if the figures have one.

        Args:
            figures: Figures of the model, with the keys in MEASURED and the metric as `test_macro_f1`; further keys are
                ignored.
            verb, trial, seed, on, split: As in TestEvaluation.
        """
        if "test_accuracy" not in figures:
            return
        metric = self.attributes["spec"]["metric"]
        value = figures.get(f"test_{metric}", math.nan)
        about = {"verb": verb, "trial": trial, "seed": seed, "on": on, "split": split, "val_accuracy": None}
        measured = {name: figures[name] for name in MEASURED if name in figures}
        also = {"test_metric": value} if metric != "accuracy" and math.isfinite(value) else {}
        entry = {**about, **measured, **also, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        self.set_study_attr(f"{TEST_EVALUATION}{len(self.test_evaluations)}", entry)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Refuse to write after a failed write: its partial record would absorb the next one."""
        if self._broken is not None:
            raise self._broken
        journal = self.folder / JOURNAL
        try:
            with os_errors_as_user_errors(journal):
                yield
        except UserError as error:
            self._broken = error
            raise
        except OSError as error:  # such as EIO of a failing disk
            reason = f"cannot write {journal} ({error.strerror or error})"
            self._broken = UserError(f"{reason}; check the disk, and run the same command again")
            raise self._broken from error

    def remove_checkpoints(self, number: int) -> None:
        """Remove a trial's checkpoints from this machine."""
        shutil.rmtree(self.checkpoint_dir(trial_name(number)), ignore_errors=True)

    def checkpoint_dir(self, name: str) -> Path:
        """Return the folder of the checkpoints of a trial (`trial_name`) or another training while it runs."""
        return self.folder.absolute() / "checkpoints" / name


@contextlib.contextmanager
def open_study(
    folder: Path, spec: Spec, attributes: Mapping[str, Any] | None = None, searches: bool = False
) -> Iterator[StudyJournal]:
    """Open the study in `folder` for writing, or create it.

    Args:
        folder: Folder of the study.
        spec: The spec that the study must have.
        attributes: More user attributes for a new study; ignored if the study exists.
        searches: Whether this process trains the study's trials.

    Raises:
        UserError: Another process is running this study, another version of sentune made it, its journal is a link, or
            a file cannot be read or written.
        ConfigError: The study has another spec; the message names every difference.
        CorruptionError: The journal is damaged before its last line.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # sentune has its own messages
    with os_errors_as_user_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with study_lock(folder, searches):
        journal = folder / JOURNAL
        if journal.is_symlink():  # a study from elsewhere may have one, and the file that it points to would be cut
            raise UserError(f"{journal} is a link; replace it by the file that it points to")
        with os_errors_as_user_errors(journal):
            truncate_partial_line(journal)
            # This process has the study's lock, so an existing lock of Optuna was left by a killed process.
            journal.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
            storage = open_journal(journal)
            try:
                study_id = _study(storage, folder, spec, attributes or {})
                for trial in storage.get_all_trials(study_id, deepcopy=False):
                    check_written_trial(trial.state, trial.user_attrs)
            except UserError:
                raise
            except DAMAGE as error:
                raise journal_damage(str(journal), error) from error
        yield StudyJournal(folder, storage, study_id)


def _study(storage: JournalStorage, folder: Path, spec: Spec, attributes: Mapping[str, Any]) -> int:
    studies = storage.get_all_studies()
    if studies:
        study_id, old = studies[0]._study_id, studies[0].user_attrs.get("spec")
    else:
        study_id, old = storage.create_new_study([StudyDirection.MAXIMIZE], folder.name), None
    if old is None:
        for name, value in {**attributes, "spec": dict(spec)}.items():
            storage.set_study_user_attr(study_id, name, value)
        return study_id
    check_format({"spec": old}, folder)
    if differences := spec_differences(old, spec):
        raise ConfigError(
            f"study {folder.name!r} was created with {'; '.join(differences)}; "
            f"{_advice(differences)}, or choose another --name"
        )
    return study_id


def _advice(differences: Sequence[str]) -> str:
    """Return what removes the differences. Another data option explains another fingerprint, another path does not."""
    versions = [line for line in differences if line.startswith("versions.")]
    data = [line for line in differences if line.startswith(("fingerprint ", "data.dataset "))]
    advice = ["install the same versions"] if versions else []
    if len(versions) + len(data) < len(differences):
        advice.append("pass the same options and files as before")
    elif data:
        moved = any(line.startswith("data.dataset ") for line in data)
        same = "and word vectors, with the same versions of sentune, NLTK and regex"
        advice.append("pass the same data" if moved else f"pass the same data {same}")
    return " and ".join(advice)


def spec_differences(old: Spec, new: Spec) -> list[str]:
    """Return a line for each setting in which two specs differ, without those that follow from another one.

    The same data may have another path.

    Args:
        old: Spec as the journal has it.
        new: Result of tuning.scheduling.study_config.study_spec.
    """
    new = json.loads(json.dumps(new))  # with lists instead of tuples, as in the journal
    old, new = _by_dimension(old), _by_dimension(new)
    if old.get("fingerprint") == new.get("fingerprint"):
        old, new = ({key: value for key, value in each.items() if key != "data"} for each in (old, new))
    lines = _differences(old, new)
    followed = [name for name, cause in DERIVED.items() if any(line.startswith(cause) for line in lines)]
    return [line for line in lines if not line.startswith(tuple(f"{name} " for name in followed))]


def _by_dimension(spec: Spec) -> Spec:
    """Return the spec with the dimensions of its space by name, and with the option's name for the threads."""
    changed = {("--cpus-per-trial" if key == "threads" else key): value for key, value in spec.items()}
    if space := spec.get("space"):
        named = {each["name"]: each for each in space.get("dimensions", ())}
        changed["space"] = {**space, "dimensions": named}
    return changed


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return a line for each leaf in which two specs differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted(old.keys() | new.keys())
        return [d for key in keys for d in _differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    if old == new:
        return []
    if last_part(old) != last_part(new):  # the ends of two long paths would be cut off
        old, new = last_part(old), last_part(new)
    before, after = ("none" if value is None else truncate(json.dumps(value), 60) for value in (old, new))
    return [f"{printable(path)} {before}, this command has {after}"]
