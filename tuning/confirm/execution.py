"""Runs of a study's settings on fresh seeds and folds: what one does in a worker, and all of them on Ray.

Each run that ends is written into the journal at once, and each keeps checkpoints while it goes on: whatever is killed,
the same command goes on where it was.
"""

import dataclasses
import shutil
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.corpus import TEST, VAL, Corpus
from core.errors import ConfigError, UserError
from tuning.backend.local_ray import local_ray
from tuning.confirm.runs import PREFIX, ConfirmRun
from tuning.journal.predictions import pack_labels
from tuning.journal.writer import StudyJournal
from tuning.resources.machine import Machine, TrialResources
from tuning.scheduling.scheduler import MAX_RESTARTS, WORKER_DIED

if TYPE_CHECKING:
    from tuning.backend.interrupt import InterruptHandler


def train_run(config: Mapping[str, Any], corpus: Corpus, resources: TrialResources, checkpoints: str) -> dict[str, Any]:
    """In a Ray worker: train, count the best epoch by validation, measure it on validation and test.

    Returns:
        The figures, with `correct`: which sentences of the test split it got right (of the validation split, where
        there is no test split), packed. Or `error`, of a run that cannot be trained; or `mend`, which the person must.
    """
    from core.config import TrialConfig
    from tuning.backend.worker import error_text, select_device
    from tuning.retrain.training import evaluate_on_test, metrics_of, train_resumable

    try:
        device, _ = select_device(resources.gpus_per_trial)
        settings, place = TrialConfig.from_dict(config), Path(checkpoints)
        result = train_resumable(settings, corpus, threads=resources.cpus_per_trial, device=device, checkpoints=place)
        test = evaluate_on_test(result, corpus, resources.cpus_per_trial, device)
    except Exception as error:  # a bad setting must not end the others
        mend = isinstance(error, UserError) and not isinstance(error, ConfigError)
        return {"mend": str(error)} if mend else {"error": error_text(error)}
    predictions = result.val_predictions if test is None else test.predictions
    labels = corpus.labels[corpus.indices(VAL if test is None else TEST)]
    return {
        **metrics_of(result, corpus, test),
        "correct": pack_labels((predictions == labels).astype(int)),
        "seconds": sum(epoch.seconds for epoch in result.epochs),
        "n_parameters": result.n_parameters,
        "weights_sha256": result.weights_sha256,
        "environment": dict(result.environment),
    }


def execute(
    runs: Sequence[ConfirmRun],
    corpus_of: Callable[[ConfirmRun], Corpus],
    journal: StudyJournal,
    resources: TrialResources,
    machine: Machine,
    workers: int,
    say: Callable[[str], None],
    interrupt: "InterruptHandler",
) -> None:
    """Do the runs, as many at a time as there are workers; return when all have ended, or after an interruption.

    Args:
        runs: in the order in which they begin.
        corpus_of: the data of a run; those of the study's own split are handed to Ray once.
        ledger: where each outcome goes.
        shares: what one run gets.
        machine: what Ray may use.
        workers: runs at once.
        say: told each end.
        interruption: ends everything; the running epochs are lost.

    Raises:
        UserError: the person must mend something first, such as a full disk.
    """
    # Twice: Ray sets handlers of its own when it starts.
    with interrupt.installed(), local_ray(machine, interrupt.on_ray_lost) as ray, interrupt.installed():
        options = {
            "num_cpus": resources.cpus_per_trial,
            "num_gpus": resources.gpus_per_trial,
            "max_retries": MAX_RESTARTS,
        }
        task = ray.remote(**options)(train_run)
        waiting = deque(runs)
        running: dict[Any, ConfirmRun] = {}
        common, ended = None, 0
        while (waiting or running) and not interrupt.requested:
            while waiting and len(running) < workers:
                run = waiting.popleft()
                if run.fold is not None:
                    data = ray.put(corpus_of(run))
                else:
                    data = common = common or ray.put(corpus_of(run))
                running[task.remote(dict(run.config), data, resources, str(_checkpoint_dir(journal, run.key)))] = run
            for reference in ray.wait(list(running), timeout=0.5)[0]:
                run = running.pop(reference)
                ended += 1
                outcome = _outcome(ray, reference)
                record_result(journal, run, outcome)
                say(f"run {ended} of {len(runs)}: {run}{result_text(outcome)}")
    remove_checkpoints(journal)


def _outcome(ray: Any, reference: Any) -> dict[str, Any]:
    """What the run returned, or that its worker died."""
    try:
        return dict(ray.get(reference))
    except ray.exceptions.RayError:
        return {"died": WORKER_DIED}


def record_result(journal: StudyJournal, run: ConfirmRun, outcome: Mapping[str, Any]) -> None:
    """Put an outcome into the journal; the reading of the test split first, so that none is ever left uncounted.

    A run whose worker died is not written down: the same command tries it again.

    Raises:
        UserError: the person must mend something first.
    """
    if "mend" in outcome:
        raise UserError(outcome["mend"])
    if "died" in outcome:
        return
    if "test_accuracy" in outcome:
        journal.log_test_evaluation(
            verb=PREFIX,
            trial=run.trial,
            seed=run.seed,
            on="train",
            split=run.split,
            val_accuracy=outcome["val_accuracy"],
            test_accuracy=outcome["test_accuracy"],
            test_sentences=outcome["test_sentences"],
        )
    about = {name: value for name, value in dataclasses.asdict(run).items() if name != "config"}
    journal.set_study_attr(run.key, {**about, **outcome, "time": datetime.now(UTC).isoformat(timespec="seconds")})
    shutil.rmtree(_checkpoint_dir(journal, run.key), ignore_errors=True)


def result_text(outcome: Mapping[str, Any]) -> str:
    """An outcome at the end of a line."""
    if failed := outcome.get("error") or outcome.get("died"):
        return f" failed: {failed}"
    test = f", test {outcome['test_accuracy']:.4f}" if "test_accuracy" in outcome else ""
    return f": val {outcome['val_accuracy']:.4f}{test}, {outcome['seconds']:.1f} s"


def remove_checkpoints(journal: StudyJournal) -> None:
    """Remove what checkpoints there are of runs that are written down.

    When a process is killed, its workers live on for seconds and may put one where the next process has removed it.
    """
    for key in journal.attributes:
        if key.startswith(f"{PREFIX}:"):
            shutil.rmtree(_checkpoint_dir(journal, key), ignore_errors=True)


def _checkpoint_dir(journal: StudyJournal, key: str) -> Path:
    """Of a run's checkpoints."""
    return journal.folder.absolute() / "checkpoints" / key.replace(":", "-").replace("/", "of")
