"""The members of an ensemble: trials that are trained again on Ray, and the plain baseline."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.data.corpus import TEST, TRAIN, VAL, Corpus
from core.errors import CorruptionError, TrainingError, UserError
from core.inference.members import LstmMember, Member, PlainMember
from core.metrics import METRICS
from core.plain_baseline import evaluate_plain, fit_plain_baseline, validate_plain
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.tasks import run_tasks
from tuning.journal.probabilities import epoch_name, load_probabilities
from tuning.journal.records import PLAIN_BASELINE, TrialRecord
from tuning.resources.machine import TrialResources
from tuning.retrain.calibrated import Outputs
from tuning.retrain.environment_diff import EnvironmentChange
from tuning.retrain.models import test_outputs, val_outputs
from tuning.retrain.reproduction import reproduction_of
from tuning.retrain.training import train_in_worker
from tuning.scheduling.schedule import MAX_RESTARTS


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class TrainedMember:
    """A member with its outputs."""

    member: Member
    trial: int | None
    """Trial of the member; None for the plain baseline."""
    verdict: str
    """Result of the comparison with the record of the search."""
    val: Outputs
    """Outputs for the validation sentences, of a training without these sentences."""
    test: Outputs | None
    """Outputs of the member for the test sentences; None without a test split."""
    trained_epochs: int | None = None
    """Number of epochs of that training; None for the plain baseline."""
    about: Mapping[str, Any]
    """More data for the model folder: `weights_sha256` and `environment`."""


def train_members(
    records: Mapping[int, TrialRecord],
    corpus: Corpus,
    checkpoints: Mapping[int, Path],
    resources: TrialResources,
    session: Callable[[], AbstractContextManager[Any]],
    workers: int,
    interrupt: InterruptHandler,
    *,
    both: bool,
    say: Callable[[str], None],
) -> dict[int, Mapping[str, Any]] | None:
    """Return the result of `train_in_worker` for each trial, by number; None after an interrupt.

    Raises:
        TrainingError: A trial cannot be trained; the message names it.
        UserError: A worker died at each attempt, or there is a problem that the user must fix.
    """

    def starter(ray: Any) -> Callable[[TrialRecord], Any]:
        options = {"num_cpus": resources.cpus_per_trial, "num_gpus": resources.gpus_per_trial}
        train, data = ray.remote(max_retries=MAX_RESTARTS, **options)(train_in_worker), ray.put(corpus)
        return lambda record: train.remote(
            dict(record.config), data, resources, str(checkpoints[record.number]), record.epochs[-1].epoch, both
        )

    found: dict[int, Mapping[str, Any]] = {}
    with closing(run_tasks(list(records.values()), starter, session, workers, interrupt)) as results:
        for record, result in results:
            if died := result.get("died"):
                raise UserError(f"trial {record.number}: {died}; run the same command again to resume")
            if error := result.get("error"):
                why = f"trial {record.number} cannot be trained again ({error})"
                raise TrainingError(f"{why}; check free memory, data and versions")
            found[record.number] = result
            say(f"trained {len(found)} of {len(records)}: trial {record.number}")
    return None if interrupt.requested else found


def verify_member(
    folder: Path,
    record: TrialRecord,
    trained: Mapping[str, Any],
    corpus: Corpus,
    weight: float,
    changes: Sequence[EnvironmentChange],
) -> TrainedMember:
    """Compare a trained member with the journal and with the probabilities that it was selected by.

    Raises:
        CorruptionError: The training is reproduced, but the stored probabilities differ.
    """
    result = trained["result"]
    verdict = reproduction_of(record, result, changes)
    val = val_outputs(corpus, result.val_predictions, result.val_log_odds)
    if verdict.difference is None:
        name = epoch_name(record.number, result.best_epoch)
        stored = load_probabilities(folder, name, *val.probabilities.shape)
        if stored is None or not np.array_equal(stored, val.probabilities):
            needed = METRICS[result.config.metric].needs_probabilities
            advice = "restore a copy" if needed else "restore a copy, or remove the file to leave out this trial"
            raise CorruptionError(
                f"probabilities/{name}.npz differs from the trial's probabilities, although its training is "
                f"reproduced; {advice}"
            )
    member = LstmMember(name=f"trial-{record.number}", weight=weight, config=result.config, weights=trained["weights"])
    about = {"weights_sha256": trained["weights_sha256"], "environment": dict(result.environment)}
    return TrainedMember(
        member=member,
        trial=record.number,
        verdict=str(verdict),
        val=val,
        test=test_outputs(corpus, trained["test"]),
        trained_epochs=len(result.epochs),
        about=about,
    )


def fit_plain_member(folder: Path, corpus: Corpus, metric: str, weight: float, *, both: bool) -> TrainedMember:
    """Fit the plain baseline on the sentences that the other members are trained on.

    Args:
        folder: Folder of the study.
        corpus: The data.
        metric: Name of the study's metric.
        weight: Weight of the member.
        both: Whether to fit on the train and validation splits.
    """
    sentences = np.flatnonzero(corpus.split != TEST) if both else corpus.indices(TRAIN)
    baseline = fit_plain_baseline(corpus, sentences.astype(np.int64))
    if both or corpus.folds is not None:  # it was fitted on the validation sentences
        val = validate_plain(corpus, METRICS[metric])
    else:
        val = evaluate_plain(baseline, corpus, VAL, METRICS[metric])
    test = evaluate_plain(baseline, corpus, TEST, METRICS[metric]) if len(corpus.indices(TEST)) else None
    outputs = val_outputs(corpus, val.predictions, val.log_odds)
    stored = load_probabilities(folder, PLAIN_BASELINE, *outputs.probabilities.shape)
    equal = stored is not None and np.array_equal(stored, outputs.probabilities)
    verdict = "REPRODUCED its validation probabilities" if equal else "DIFFERS from its validation probabilities"
    member = PlainMember(weight=weight, baseline=baseline)
    return TrainedMember(
        member=member,
        trial=None,
        verdict=verdict,
        val=outputs,
        test=test_outputs(corpus, test),
        about={},
    )
