"""The figures of an ensemble and of each of its members, on validation and test."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from core.data.corpus import Corpus
from core.inference.members import LstmMember
from core.metrics import METRICS
from core.training.evaluate import evaluate_logits
from tuning.analysis.assessment import PLAIN
from tuning.ensemble.members import TrainedMember
from tuning.journal.writer import StudyJournal
from tuning.retrain.calibrated import Outputs, calibration_figures
from tuning.retrain.models import class_figures, metric_interval
from tuning.retrain.output import print_quality
from tuning.retrain.training import held_out_metrics, split_name


def measure(journal: StudyJournal, members: Sequence[TrainedMember], corpus: Corpus, on: str) -> dict[str, Any]:
    """Evaluate each member and the ensemble, print the figures and log each test evaluation.

    A single member is the ensemble, so it is logged once.

    Args:
        journal: Journal of the study.
        members: Members, at least one.
        corpus: The data.
        on: The splits that the members were trained on. With train+val, or for a study in folds, the validation
            figures are those of other trainings, which did not see the sentences. Their names begin with `verified_`,
            and there are none by class.

    Returns:
        Figures for the model folder.
    """
    metric, weights = journal.attributes["spec"]["metric"], [each.member.weight for each in members]
    val_name = "val" if on == "train" and corpus.folds is None else "verified_val"
    rows = []
    for each in members:
        figures = _figures(metric, val_name, _splits(each.val, each.test))
        if len(members) > 1:
            _log(journal, corpus, figures, on, each)
        rows.append({"name": each.member.name, "weight": each.member.weight, "verdict": each.verdict, **figures})
        print(f"{each.member.name}: {each.verdict}; {_summary(figures, metric)}")
    tests = [each.test for each in members if each.test is not None]
    outputs = _splits(_mean([each.val for each in members], weights), _mean(tests, weights) if tests else None)
    figures = _figures(metric, val_name, outputs) | calibration_figures(outputs["val"], outputs.get("test"))
    figures |= metric_interval(METRICS[metric], outputs.get("test"), len(corpus.classes))
    for split, found in outputs.items():
        if split == "test" or val_name == "val":
            figures |= class_figures(split, found, corpus.classes)
    named = {PLAIN if each.trial is None else str(each.trial): each.member.weight for each in members}
    _log(journal, corpus, {**figures, "members": named}, on, members[0] if len(members) == 1 else None)
    print(f"ensemble: {_summary(figures, metric)}")
    print_quality(figures, corpus.classes)
    trained = {each.member.name: each.about for each in members if each.about}
    environment: Mapping[str, Any] = next((about["environment"] for about in trained.values()), {})
    digests = {name: about["weights_sha256"] for name, about in trained.items()}
    return {**figures, "members": rows, "environment": environment, "weights_sha256": digests}


def _mean(outputs: Sequence[Outputs], weights: Sequence[float]) -> Outputs:
    """Return the outputs of the ensemble; those of a single member as they are."""
    if len(outputs) == 1:
        return outputs[0]
    probabilities = np.average([each.probabilities for each in outputs], axis=0, weights=weights)
    return Outputs(outputs[0].labels, probabilities.argmax(axis=1), probabilities)


def _splits(val: Outputs, test: Outputs | None) -> dict[str, Outputs]:
    return {"val": val} if test is None else {"val": val, "test": test}


def _figures(metric: str, val_name: str, outputs: Mapping[str, Outputs]) -> dict[str, Any]:
    """Return metric, accuracy, loss and number of sentences of each split.

    Metric and accuracy are those of the predicted classes, as in the search. Only the loss is of rounded probabilities.
    """
    found: dict[str, Any] = {}
    for split, each in outputs.items():
        logs = torch.from_numpy(np.log(each.probabilities.astype(np.float64)))  # none is 0, see core.log_odds.FLOOR
        value = METRICS[metric].value(*each, each.probabilities.shape[1])
        evaluation = dataclasses.replace(
            evaluate_logits(logs, each.labels, METRICS[metric]),
            accuracy=int(each.correct.sum()) / len(each.labels),
            score=METRICS[metric].oriented(value),
        )
        found |= held_out_metrics(metric, evaluation, val_name if split == "val" else split)
    return found


def _summary(figures: Mapping[str, Any], metric: str) -> str:
    """Return `val 0.9000, test 0.8000`, with the metric's title unless it is the accuracy."""
    title = "" if metric == "accuracy" else f" {METRICS[metric].title}"
    splits = [split for split in ("val", "verified_val", "test") if f"{split}_{metric}" in figures]
    return ", ".join(f"{split.replace('_', ' ')}{title} {figures[f'{split}_{metric}']:.4f}" for split in splits)


def _log(
    journal: StudyJournal, corpus: Corpus, figures: Mapping[str, Any], on: str, member: TrainedMember | None
) -> None:
    """Log the evaluation of a member, or of the ensemble, on the test split."""
    logged = {**figures, "test_fingerprint": corpus.test_fingerprint()}
    seed = None
    if member is not None and isinstance(member.member, LstmMember):
        logged["epochs"], seed = member.trained_epochs, member.member.config.seed
    journal.log_test_evaluation(
        logged,
        verb="ensemble",
        trial=None if member is None else member.trial,
        seed=seed,
        on=on,
        split=split_name(journal.attributes["spec"], corpus.fingerprint),
    )
