"""The study's journal: opened by one driver at a time, repaired, checked and continued.

It is an Optuna `JournalStorage` file, so that Optuna's own tools open it. The study's user attribute
`spec` says what the study is; a trial's user attributes hold its whole configuration (`config`), where it
came from (`origin`), each epoch (`epoch:3`) and what it came to (`outcome`).
"""

import contextlib
import dataclasses
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from core.epoch import EpochResult, best_of
from core.errors import ConfigError, CorruptionError, UserError
from core.files import readable_os_errors, write_bytes

JOURNAL = "study.journal"
Spec = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """One trial as the journal tells it."""

    number: int
    state: str
    """COMPLETE, PRUNED (stopped early), FAIL or RUNNING."""
    params: Mapping[str, Any]
    """What was searched."""
    config: Mapping[str, Any]
    """Every field of its TrialConfig."""
    origin: str
    """notebook, try_first or sampler."""
    epochs: tuple[EpochResult, ...]
    error: str | None
    """Why it failed."""
    n_parameters: int | None
    """Trained and frozen weights; None until it is complete."""

    @property
    def best(self) -> EpochResult | None:
        """The epoch that counts; None when no epoch was finished."""
        return best_of(self.epochs) if self.epochs else None

    @property
    def seconds(self) -> float:
        """Of all its epochs."""
        return sum(epoch.seconds for epoch in self.epochs)


class Ledger:
    """An open journal. Get one from `open_ledger`."""

    def __init__(self, folder: Path, storage: JournalStorage, study_id: int) -> None:
        self.folder = folder
        self._storage = storage
        self._study_id = study_id

    def trials(self) -> list[FrozenTrial]:
        """All trials by number, as Optuna holds them: not to be changed."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def records(self) -> list[TrialRecord]:
        """All trials by number."""
        return [_record(trial) for trial in self.trials()]

    def add(
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
        with readable_os_errors(self.folder / JOURNAL):
            trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
        return self._storage.get_trial_number_from_id(trial_id)

    def record(self, number: int, epoch: EpochResult) -> None:
        """Write down an epoch of a running trial. The same epoch twice is written once."""
        trial = self.trials()[number]
        key = f"epoch:{epoch.epoch}"
        if key in trial.user_attrs:
            return
        with readable_os_errors(self.folder / JOURNAL):
            self._storage.set_trial_user_attr(trial._trial_id, key, dataclasses.asdict(epoch))
            self._storage.set_trial_intermediate_value(trial._trial_id, epoch.epoch, epoch.val_accuracy)

    def finish(self, number: int, state: TrialState, outcome: Mapping[str, Any]) -> TrialRecord:
        """Close a trial: its value is the best validation accuracy of its epochs. Its checkpoints go."""
        trial = self.trials()[number]
        best = _record(trial).best
        with readable_os_errors(self.folder / JOURNAL):
            self._storage.set_trial_user_attr(trial._trial_id, "outcome", dict(outcome))
            value = None if best is None or state == TrialState.FAIL else [best.val_accuracy]
            self._storage.set_trial_state_values(trial._trial_id, state, value)
        shutil.rmtree(self.checkpoint_dir(number), ignore_errors=True)
        return _record(self.trials()[number])

    def checkpoint_dir(self, number: int) -> Path:
        """Where trial `number` keeps its checkpoints while it runs."""
        return self.folder.absolute() / "checkpoints" / f"{number:05d}"


@contextlib.contextmanager
def open_ledger(folder: Path, spec: Spec) -> Iterator[Ledger]:
    """Open the study in `folder` for writing, or make it.

    Raises:
        UserError: another process is running this study.
        ConfigError: the study was made with another spec; every difference is named.
        CorruptionError: the journal is damaged before its last line.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # we say ourselves what happens
    with readable_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _only_driver(folder):
        journal = folder / JOURNAL
        with readable_os_errors(journal):
            _cut_torn_tail(journal)
            # We hold the study's lock: a lock of Optuna's that is still there belongs to a killed process.
            journal.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
            storage = _open_journal(journal)
            study_id = _study(storage, folder, spec)
        yield Ledger(folder, storage, study_id)


def read_study(folder: Path) -> tuple[Spec, list[TrialRecord]]:
    """The spec and all trials of a study, also while it runs. Writes nothing.

    Raises:
        UserError: there is no study; the ones beside it are named.
        CorruptionError: the journal is damaged before its last line.
    """
    journal = folder / JOURNAL
    if not journal.is_file():
        others = sorted(path.parent.name for path in folder.parent.glob(f"*/{JOURNAL}"))
        known = f"the studies there are {', '.join(others)}" if others else "there is none yet; make one: sentune run"
        raise UserError(f"no study {folder.name!r} in {folder.parent}: {known}")
    storage = _open_journal(journal)
    studies = storage.get_all_studies()
    if not studies or "spec" not in studies[0].user_attrs:
        raise UserError(f"study {folder.name!r} has not begun: run the command that made it again")
    trials = storage.get_all_trials(studies[0]._study_id, deepcopy=False)
    return studies[0].user_attrs["spec"], [_record(trial) for trial in trials]


def spec_of(folder: Path) -> Spec | None:
    """The spec of the study in `folder`; None where there is no study yet."""
    journal = folder / JOURNAL
    if not journal.is_file():
        return None
    studies = _open_journal(journal).get_all_studies()
    return studies[0].user_attrs.get("spec") if studies else None


def _record(trial: FrozenTrial) -> TrialRecord:
    attrs = trial.user_attrs
    epochs = [EpochResult(**value) for key, value in attrs.items() if key.startswith("epoch:")]
    outcome = attrs.get("outcome", {})
    return TrialRecord(
        number=trial.number,
        state=trial.state.name,
        params=trial.params,
        config=attrs["config"],
        origin=attrs["origin"],
        epochs=tuple(sorted(epochs, key=lambda epoch: epoch.epoch)),
        error=outcome.get("error"),
        n_parameters=outcome.get("n_parameters"),
    )


@contextlib.contextmanager
def _only_driver(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "study.lock", timeout=0)
    holder = folder / "driver.json"
    try:
        with readable_os_errors(folder):
            lock.acquire()
    except Timeout:
        who = json.loads(holder.read_text()) if holder.is_file() else {"pid": "?", "host": "?"}
        raise UserError(
            f"study {folder.name!r} is being run by process {who['pid']} on {who['host']}: "
            "wait for it, stop it, or choose another --name"
        ) from None
    try:
        write_bytes(holder, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _cut_torn_tail(journal: Path) -> None:
    """Cut back to the last whole line: Optuna would glue its next record onto a torn one."""
    if not journal.is_file():
        return
    with journal.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        at = end
        while at > 0:
            start = max(0, at - 65536)
            file.seek(start)
            found = file.read(at - start).rfind(b"\n")
            if found >= 0:
                at = start + found + 1
                break
            at = start
        if at < end:
            file.truncate(at)
            os.fsync(file.fileno())


def _open_journal(journal: Path) -> JournalStorage:
    try:
        return JournalStorage(JournalFileBackend(str(journal)))
    except (ValueError, KeyError, AttributeError) as error:
        raise CorruptionError(
            f"{journal} is damaged ({error}): put back a copy of it, or start anew with another --name"
        ) from error


def _study(storage: JournalStorage, folder: Path, spec: Spec) -> int:
    studies = storage.get_all_studies()
    if studies:
        study_id, known = studies[0]._study_id, studies[0].user_attrs.get("spec")
    else:
        with contextlib.suppress(DuplicatedStudyError):
            storage.create_new_study([StudyDirection.MAXIMIZE], folder.name)
        study_id, known = storage.get_study_id_from_name(folder.name), None
    wanted = json.loads(json.dumps(spec))  # as the journal gives it back: lists, not tuples
    if known is None:
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
