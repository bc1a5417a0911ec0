"""Write the journal of a whole study without a search: a thousand trials in a second."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from benchmarks.inputs.corpora import tiny_corpus
from core.config import TrialConfig
from core.data.audit import audit
from core.log_odds import round_log_odds
from tuning.journal.folder import JOURNAL
from tuning.journal.predictions import pack_labels, unpack_labels
from tuning.journal.probabilities import epoch_name, pack_log_odds, save_probabilities
from tuning.journal.records import read_study, recorded_epochs
from tuning.resources.machine import TrialResources
from tuning.scheduling.asha import FAILED, Asha
from tuning.scheduling.study_config import StudyConfig, study_spec
from tuning.scheduling.virtual_clock import VisibleResult
from tuning.space.load import load_space
from tuning.space.space import Space

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EPOCHS = 6
DATA = {"dataset": "tiny", "split": "80/10/10", "validation": "split", "seed": 42}
"""Some of the arguments of load_corpus."""


def record_study(
    folder: Path,
    *,
    trials: int = 24,
    space: str = "quick",
    sentences: int = 200,
    classes: tuple[str, ...] = ("negative", "positive"),
    running: int = 0,
    error: str = "TrainingError: the loss is NaN",
    data: Mapping[str, Any] | None = None,
    fingerprint: str | None = None,
    labels: NDArray[np.int64] | None = None,
    **kept: Any,
) -> None:
    """Write a study's journal.

    Every eighth trial fails, every third is stopped, and the last `running` ones have not ended. Depth and frozen
    vectors affect the accuracy. Two workers alternate.

    Args:
        folder: Folder of the study.
        trials: Number of trials.
        space: Name of a preset.
        sentences: Number of sentences in the validation split.
        classes: Class names.
        running: Number of trials that have not ended.
        error: Error message of failed trials.
        data: Arguments of load_corpus for the spec that differ from DATA.
        fingerprint: Fingerprint of the corpus for the spec.
        labels: Labels of the validation split (sentences,).
        kept: User attributes of the study, besides the default ones or instead of them.
    """
    draw = np.random.default_rng(0)
    loaded = load_space(space)
    the_plan = StudyConfig(
        space=loaded,
        n_trials=max(3, trials),
        epochs=EPOCHS,
        parallelism=2,
        seed=7,
        stopping=Asha(grace=2, reduction=3),
    )
    labels = draw.integers(0, len(classes), sentences) if labels is None else labels
    spec = study_spec(the_plan, tiny_corpus(), {**DATA, **(data or {})}, TrialResources())
    spec["fingerprint"] = fingerprint or spec["fingerprint"]
    usual: dict[str, Any] = {
        "validation": {"labels": pack_labels(labels), "classes": list(classes)},
        "audit": some_audit(classes),
        "vocabulary": 20,
        "test_fingerprint": "t" * 16,
        "plain_baseline": {"val_predictions": pack_labels(np.zeros_like(labels))},
        "command": "sentune run tiny --name it",
    }
    journal = [{"op_code": 0, "study_name": folder.name, "directions": [2]}]
    journal += [
        {"op_code": 2, "study_id": 0, "user_attr": {name: value}}
        for name, value in {**usual, **kept, "spec": spec}.items()
    ]
    for number in range(trials):
        params = loaded.resolve(lambda dimension: _draw(dimension.distribution, draw))
        config = loaded.to_config(params, **the_plan.shared_settings)
        end = TrialState.FAIL if number % 8 == 7 else TrialState.PRUNED if number % 3 == 2 else TrialState.COMPLETE
        end = TrialState.RUNNING if number >= trials - running else end
        journal += _trial(
            number, params, loaded, config, end, _answers(labels, config, draw, len(classes)), labels, error
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JOURNAL).write_text("".join(json.dumps({"worker_id": "w", **line}) + "\n" for line in journal))


def store_probabilities(folder: Path) -> None:
    """Store the probabilities of each trial's best epoch, as a search does; the ensemble needs them."""
    draw = np.random.default_rng(0)
    for record in read_study(folder)[1]:
        if record.best is not None and record.val_predictions is not None:
            said = unpack_labels(record.val_predictions, "predictions")
            logits = draw.normal(0, 1, (len(said), 2))
            logits[np.arange(len(said)), said] += 2
            packed = pack_log_odds(round_log_odds(logits))
            save_probabilities(folder, epoch_name(record.number, record.best.epoch), packed)


def visible_results(trials: Sequence[FrozenTrial]) -> list[VisibleResult]:
    """Return the last result of each trial that has ended, as the sampler may see it."""
    return [
        VisibleResult(trial.number, len(recorded_epochs(trial)), FAILED if trial.value is None else trial.value)
        for trial in trials
        if trial.state.is_finished()
    ]


def some_audit(classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the audit of a tiny corpus with these classes."""
    corpus = tiny_corpus(n_classes=len(classes))
    texts = [" ".join(f"w{t}" for t in corpus.tokens[a:b]) for a, b in pairwise(corpus.offsets)]
    return audit(texts, corpus.labels, classes, corpus.split, corpus.tokens, corpus.offsets, None)


def _draw(distribution: BaseDistribution, draw: np.random.Generator) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[draw.integers(len(distribution.choices))]
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    if distribution.log:  # type: ignore[attr-defined]
        value = float(np.exp(draw.uniform(np.log(low), np.log(high))))
    else:
        value = float(draw.uniform(low, high))
    return value if isinstance(distribution, FloatDistribution) else min(high, max(low, round(value)))


def _answers(
    labels: NDArray[np.int64], config: TrialConfig, draw: np.random.Generator, n_classes: int
) -> list[NDArray[np.int64]]:
    """Return the predictions after each epoch: better with time, with two layers and with trained vectors."""
    top = 0.66 + 0.08 * (config.n_layers == 2) + 0.06 * (not config.freeze_embedding) + draw.normal(0, 0.01)
    said = []
    for epoch in range(EPOCHS):
        share = top - 0.2 * np.exp(-epoch / 1.5) + draw.normal(0, 0.01)
        wrong = draw.random(len(labels)) > share
        said.append(np.where(wrong, (labels + 1) % n_classes, labels))
    return said


def _origin(number: int) -> str:
    """Return where a trial came from: the sampler uses results from the ninth trial on."""
    return "baseline" if number == 0 else "random" if number < 8 else "sampler"


def _trial(
    number: int,
    params: Mapping[str, Any],
    space: Space,
    config: TrialConfig,
    end: TrialState,
    said: list[NDArray[np.int64]],
    labels: NDArray[np.int64],
    error: str,
) -> list[dict[str, Any]]:
    distributions = space.distributions(params)
    start = BEGAN + timedelta(seconds=10 * (number // 2))
    lines: list[dict[str, Any]] = [
        {
            "op_code": 4,
            "study_id": 0,
            "datetime_start": start.isoformat(timespec="microseconds"),
            "state": 0,
            "params": {name: distributions[name].to_internal_repr(value) for name, value in params.items()},
            "distributions": {name: distribution_to_json(each) for name, each in distributions.items()},
            "user_attrs": {"config": config.to_dict(), "origin": _origin(number)},
        }
    ]
    best = -1.0
    for epoch in range(1, {TrialState.COMPLETE: EPOCHS, TrialState.FAIL: 1}.get(end, 2) + 1):
        accuracy = float((said[epoch - 1] == labels).mean())
        result = {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "val_loss": 1 - accuracy,
            "val_accuracy": accuracy,
            "score": accuracy,
            "seconds": 1.5,
            "val_predictions": pack_labels(said[epoch - 1]),
        }
        best = max(best, accuracy)
        lines.append({"op_code": 8, "trial_id": number, "user_attr": {f"epoch:{epoch}": result}})
    if end == TrialState.RUNNING:
        return lines
    until = start + timedelta(seconds=9)
    segment = {"worker": f"host/{100 + number % 2}", "since": start.timestamp(), "until": until.timestamp()}
    if end == TrialState.PRUNED:
        attributes: dict[str, Any] = {"segments": [{**segment, "paused": 2}]}
    else:
        outcome = {"n_parameters": 1000 + number} if end == TrialState.COMPLETE else {"error": error}
        attributes = {"result": {**segment, **outcome}}
    lines.append({"op_code": 8, "trial_id": number, "user_attr": attributes})
    over = until.isoformat(timespec="microseconds")
    values = None if end == TrialState.FAIL else [best]
    return [*lines, {"op_code": 6, "trial_id": number, "state": int(end), "values": values, "datetime_complete": over}]
