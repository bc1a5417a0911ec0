"""Runs of a study's configurations on fresh seeds and folds: one in a worker, and all of them on Ray.

Each result is written to the journal when its run ends, and each run keeps checkpoints. The same command therefore
resumes after any kill.
"""

import dataclasses
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.corpus import TEST, TRAIN, VAL, Corpus
from core.log_odds import LogOdds, to_probabilities
from core.metrics import METRICS, Metric
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.tasks import run_tasks
from tuning.confirm.runs import PREFIX, ConfirmRun
from tuning.journal.predictions import pack_labels
from tuning.journal.probabilities import file_name, pack_log_odds, save_probabilities
from tuning.journal.writer import StudyJournal
from tuning.resources.machine import TrialResources
from tuning.retrain.training import metrics_of, train_in_worker
from tuning.scheduling.schedule import MAX_RESTARTS

LASTING_ERRORS = ("TrainingError: ", "ConfigError: ")
"""Beginnings of the errors of settings that cannot be trained."""
LOG_ODDS = "packed_log_odds"
"""Part of a result that is not in the journal; for a fold it is stored as probabilities, for `data --suspects`."""


def train_run(config: Mapping[str, Any], corpus: Corpus, resources: TrialResources, checkpoints: str) -> dict[str, Any]:
    """Train in a Ray worker, and evaluate its best epoch on validation and test.

    Returns:
        The figures, and those of `sentence_figures` on the test split, or on the validation split without a test split
        on which the metric is defined. Instead, `error` if the settings cannot be trained, or `user_error` if the user
        must fix a problem.
    """
    both = corpus.folds is not None and len(corpus.indices(TEST)) > 0  # a model trained on all folds is tested
    found = train_in_worker(config, corpus, resources, checkpoints, None, both)
    if "result" not in found:  # it failed
        return found
    result, test = found["result"], found["test"]
    sentences, predictions, log_odds = corpus.validation(), result.val_predictions, result.val_log_odds
    if test is not None and not math.isnan(test.score):
        sentences, predictions, log_odds = corpus.indices(TEST), test.predictions, test.log_odds
    return {
        **metrics_of(result, corpus, test),
        **sentence_figures(METRICS[result.config.metric], corpus.labels[sentences], predictions, log_odds),
        LOG_ODDS: pack_log_odds(result.val_log_odds if test is None else test.log_odds),
        "seconds": sum(epoch.seconds for epoch in result.epochs),
        "epochs": len(result.epochs),
        "test_fingerprint": corpus.test_fingerprint(),
        "n_parameters": result.n_parameters,
    }


def sentence_figures(
    metric: Metric, labels: NDArray[np.int64], predictions: NDArray[np.int64], log_odds: LogOdds
) -> dict[str, Any]:
    """Return the figures from which the error over sentences is computed.

    Returns:
        `correct`: whether each sentence is classified correctly, packed. For another metric than accuracy also
        `class_sentences`, the number of sentences of each class, and `pseudo_values` (core.metrics), if they are
        defined on these labels.
    """
    found: dict[str, Any] = {"correct": pack_labels((predictions == labels).astype(int))}
    if metric.name != "accuracy":
        outputs = to_probabilities(log_odds) if metric.needs_probabilities else predictions
        n_classes = log_odds.shape[1] + 1
        found["class_sentences"] = np.bincount(labels, minlength=n_classes).tolist()
        values = metric.pseudo_values(labels, outputs, n_classes)
        if np.isfinite(values).all():
            found["pseudo_values"] = values.round(6).tolist()
    return found


def fit_run(metric: str, corpus: Corpus) -> dict[str, Any]:
    """Fit the plain baseline in a Ray worker, and evaluate it on validation and test.

    Returns:
        Figures as in `train_run`, `majority_val` and `majority_test`, the metric of the majority class, and
        `train_sentences` (core.plain_baseline.train_part).
    """
    from core.plain_baseline import evaluate_plain, fit_plain_baseline, majority_value, train_part, validate_plain
    from tuning.backend.worker import failure_result

    start = time.perf_counter()
    try:
        found: dict[str, Any] = {**train_part(corpus)}
        results = {} if corpus.folds is None else {"val": validate_plain(corpus, METRICS[metric])}
        parts = {name: split for name, split in (("val", VAL), ("test", TEST)) if len(corpus.indices(split))}
        if parts:
            baseline = fit_plain_baseline(corpus, corpus.indices(TRAIN))
            results |= {name: evaluate_plain(baseline, corpus, split, METRICS[metric]) for name, split in parts.items()}
        for name, result in results.items():
            sentences = corpus.validation() if name == "val" else corpus.indices(TEST)
            values = {f"{name}_{metric}": result.value}
            values[f"majority_{name}"] = majority_value(corpus, sentences, METRICS[metric])
            found |= {key: value for key, value in values.items() if not math.isnan(value)}
            found |= {f"{name}_accuracy": float(result.correct.mean()), f"{name}_sentences": len(result.correct)}
            if name == "val" or not math.isnan(result.value):  # as in `train_run`
                labels = corpus.labels[sentences]
                found |= sentence_figures(METRICS[metric], labels, result.predictions, result.log_odds)
    except Exception as error:  # it must not end the other runs
        return failure_result(error)
    return {**found, "test_fingerprint": corpus.test_fingerprint(), "seconds": time.perf_counter() - start}


def execute(
    runs: Sequence[ConfirmRun],
    corpus_of: Callable[[ConfirmRun], Corpus],
    journal: StudyJournal,
    resources: TrialResources,
    session: Callable[[], AbstractContextManager[Any]],
    workers: int,
    say: Callable[[str], None],
    interrupt: InterruptHandler,
) -> None:
    """Execute the runs, `workers` at a time; return when all have ended, or after an interrupt.

    Args:
        runs: The runs, in the order in which they start.
        corpus_of: Returns the data of a run. Called once for successive runs of one fold, or of the study's own split.
        journal: Receives each result.
        resources: Resources of one run.
        session: Context manager that yields module ray once Ray has started.
        workers: Number of parallel runs.
        say: Called with a line when a run ends.
        interrupt: Ends the execution; epochs in progress are discarded.

    Raises:
        UserError: There is a problem that the user must fix, such as a full disk.
    """

    def starter(ray: Any) -> Callable[[ConfirmRun], Any]:
        latest: tuple[int | None, Any] | None = None  # fold, and Ray's reference to its data
        train = ray.remote(
            num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial, max_retries=MAX_RESTARTS
        )(train_run)
        fit = ray.remote(num_cpus=1, max_retries=MAX_RESTARTS)(fit_run)

        def start(run: ConfirmRun) -> Any:
            nonlocal latest
            if latest is None or latest[0] != run.fold:
                latest = run.fold, ray.put(corpus_of(run))
            data = latest[1]
            if run.trial is None:
                return fit.remote(run.config["metric"], data)
            return train.remote(dict(run.config), data, resources, str(journal.checkpoint_dir(file_name(run.key))))

        return start

    with closing(run_tasks(runs, starter, session, workers, interrupt)) as results:
        for ended, (run, result) in enumerate(results, 1):
            record_result(journal, run, result)
            say(f"run {ended} of {len(runs)}: {run}{result_text(result, run.config['metric'])}")
    remove_checkpoints(journal)


def record_result(journal: StudyJournal, run: ConfirmRun, result: Mapping[str, Any]) -> None:
    """Record a result in the journal, the test evaluation first, so that each one is counted.

    Of failures, only those that training again would repeat are recorded. The same command tries the others again, such
    as a worker that died or had too little memory.
    """
    if "died" in result or ("error" in result and not result["error"].startswith(LASTING_ERRORS)):
        return
    packed, result = result.get(LOG_ODDS), {name: value for name, value in result.items() if name != LOG_ODDS}
    if packed and run.fold is not None:
        save_probabilities(journal.folder, file_name(run.key), packed)
    journal.log_test_evaluation(result, verb=PREFIX, trial=run.trial, seed=run.seed, on="train", split=run.split)
    about = {name: value for name, value in dataclasses.asdict(run).items() if name != "config"}
    journal.set_study_attr(run.key, {**about, **result, "time": datetime.now(UTC).isoformat(timespec="seconds")})
    shutil.rmtree(journal.checkpoint_dir(file_name(run.key)), ignore_errors=True)


def result_text(result: Mapping[str, Any], metric: str) -> str:
    """Return a result as the last part of a line."""
    if failed := result.get("error") or result.get("died"):
        return f" failed: {failed}"
    test = f", test {result[f'test_{metric}']:.4f}" if f"test_{metric}" in result else ""
    return f": val {result[f'val_{metric}']:.4f}{test}, {result['seconds']:.1f} s"


def remove_checkpoints(journal: StudyJournal) -> None:
    """Remove the checkpoints of recorded runs.

    The workers of a killed process survive it for seconds. They may write a checkpoint after the next process has
    removed it.
    """
    for key in journal.attributes:
        if key.startswith(f"{PREFIX}:"):
            shutil.rmtree(journal.checkpoint_dir(file_name(key)), ignore_errors=True)
