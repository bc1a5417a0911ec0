"""A small study in a journal, for tests of its readers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.trial import TrialState

from core.config import TrialConfig
from tests.support.epochs import epoch
from tuning.journal.writer import StudyJournal, open_study
from tuning.space.load import load_space

SPEC = {
    "fingerprint": "f" * 64,
    "space": load_space("notebook").to_dict(),
    "seed": 42,
    "metric": "accuracy",
}


def add(journal: StudyJournal, *accuracies: float, origin: str = "sampler", **settings: object) -> int:
    """A running trial with its epochs."""
    config = {**TrialConfig().to_dict(), **settings}
    number = journal.add_trial({}, {}, config, origin)
    for at, accuracy in enumerate(accuracies, 1):
        journal.record_epoch(number, epoch(at, accuracy, seconds=2.0))
    return number


@contextmanager
def small_study(folder: Path, spec: dict[str, object] = SPEC, study: str = "0" * 32) -> Iterator[StudyJournal]:
    """Trial 0 is done, 1 was stopped, 2 failed, 3 repeats 0, and 4 runs; the journal is open in the block."""
    with open_study(folder, spec, {"id": study}) as journal:
        journal.finish_trial(add(journal, 0.6, 0.8, 0.7, hidden_dim=64), TrialState.COMPLETE, {}, 3)
        journal.finish_trial(add(journal, 0.5, hidden_dim=96), TrialState.PRUNED, None, 1)
        journal.finish_trial(add(journal), TrialState.FAIL, {"error": "TrainingError: \x1b[31mNaN"}, 1)
        journal.copy_result(0, add(journal, origin="copy of 0", hidden_dim=64))
        add(journal, 0.55, hidden_dim=128)
        yield journal
