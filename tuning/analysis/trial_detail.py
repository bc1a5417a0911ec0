"""One trial in detail: its settings, its epochs, the scores of each class and the confusion matrix."""

import json
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from core.class_report import WIDEST_MATRIX, ClassScores, class_report, confusion_matrix
from core.errors import UserError
from core.io.text import printable
from core.metrics import METRICS
from core.stats import Interval
from tuning.analysis.assessment import validation_predictions
from tuning.analysis.ranking import STATES
from tuning.console import study_command
from tuning.formatting import format_settings, short_names, text_table
from tuning.journal.predictions import unpack_validation_labels
from tuning.journal.records import Spec, TrialRecord, read_study
from tuning.space.space import Space


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ClassResults:
    """Scores and confusions of the classes at a trial's best epoch, on the validation split."""

    scores: Sequence[ClassScores]
    confusion: NDArray[np.int64]
    """(C, C) sentences by label (row) and predicted class."""


def class_results(record: TrialRecord, attributes: Mapping[str, Any]) -> ClassResults | None:
    """Return the results of a trial from its stored predictions; None if it has none.

    Raises:
        CorruptionError: The predictions are damaged.
    """
    classes = tuple(attributes["validation"]["classes"])
    labels = unpack_validation_labels(attributes)
    predictions = validation_predictions(record, labels, len(classes))
    if predictions is None:
        return None
    confusion = confusion_matrix(labels, predictions, len(classes))
    return ClassResults(scores=class_report(confusion, classes), confusion=confusion)


def trial_text(folder: Path, number: int, form: str) -> str:
    """Return one trial of a study as `table` or `json`.

    Raises:
        UserError: There is no such study, or no such trial.
    """
    attributes, records = read_study(folder)
    if not 0 <= number < len(records):
        have = f"choose from 0 to {len(records) - 1}" if records else "run the study first"
        raise UserError(f"study {folder.name!r} has no trial {number}; {have}")
    record, results = records[number], class_results(records[number], attributes)
    if form == "json":
        return json.dumps(_as_json(record, results), indent=2)
    settings = searched_settings(record, attributes["spec"])
    width = shutil.get_terminal_size().columns
    lines = [f"trial {number}: {_state(record)}", *textwrap.wrap(settings, width, break_on_hyphens=False)]
    lines += ["", *_epoch_table(record)] if record.epochs else []
    if results:
        with_matrix = study_command("best", folder, f"--trial {number} --format json")
        lines += ["", *class_tables(results, f"the output of {with_matrix}")]
    return "\n".join(lines)


def searched_settings(record: TrialRecord, spec: Spec) -> str:
    """Return all searched settings of a trial: the baseline's, too, which may be outside their ranges."""
    searched = Space.from_dict(spec["space"]).searched_fields
    return format_settings({name: record.config[name] for name in searched})


def class_tables(results: ClassResults, where: str) -> list[str]:
    """Return two text tables: the scores of each class with 95% intervals, and the confusion matrix.

    Args:
        results: Results for the classes.
        where: Place of the matrix if there are too many classes for a table.
    """
    names = list(short_names(each.name for each in results.scores).values())
    rows = [
        [
            name,
            _with_interval(each.precision, each.precision_interval),
            _with_interval(each.recall, each.recall_interval),
            _with_interval(each.f1, each.f1_interval),
            str(each.support),
        ]
        for name, each in zip(names, results.scores, strict=True)
    ]
    scores = [*text_table(["class", "precision", "recall", "F1", "support"], rows), ""]
    if len(names) > WIDEST_MATRIX:
        return [*scores, f"{len(names):,} classes are too many for a confusion matrix here; it is in {where}"]
    corner, counts = "label \\ predicted", [list(map(str, row)) for row in results.confusion.tolist()]
    matrix = text_table([corner, *names], [[name, *row] for name, row in zip(names, counts, strict=True)])
    if cell_len(matrix[0]) > shutil.get_terminal_size().columns:  # numbers in place of the names above
        numbers = [str(number) for number in range(1, len(names) + 1)]
        numbered = [[f"{name} {at}", *row] for name, at, row in zip(names, numbers, counts, strict=True)]
        matrix = text_table([corner, *numbers], numbered)
    return [*scores, *matrix]


def _with_interval(value: float, interval: Interval | None) -> str:
    return f"{value:.3f} {f'{interval.low:.3f}-{interval.high:.3f}' if interval else '-':>11}"


def _state(record: TrialRecord) -> str:
    why = f" ({printable(record.error)})" if record.error else ""
    copy = f", repeats trial {record.copy_of}" if record.copy_of is not None else ""
    best = f", best epoch {record.best.epoch}" if record.best else ""
    return f"{STATES[record.state]}{why}{copy}{best}"


def _epoch_table(record: TrialRecord) -> list[str]:
    metric = METRICS[record.config["metric"]]
    extra = [metric.title] if metric.name != "accuracy" else []
    titles = ["epoch", "train loss", "val loss", *extra, "val acc", "sec"]
    rows = [
        [
            str(epoch.epoch),
            f"{epoch.train_loss:.4f}",
            f"{epoch.val_loss:.4f}",
            *([f"{metric.oriented(epoch.score):.4f}"] if extra else []),
            f"{epoch.val_accuracy:.4f}",
            f"{epoch.seconds:.1f}",
        ]
        for epoch in record.epochs
    ]
    return text_table(titles, rows)


def _as_json(record: TrialRecord, results: ClassResults | None) -> dict[str, Any]:
    metric = METRICS[record.config["metric"]]
    epochs = [row | {"val_metric": metric.oriented(row.pop("score"))} for row in map(asdict, record.epochs)]
    return {
        "trial": record.number,
        "state": record.state,
        "error": record.error,
        "copy_of": record.copy_of,
        "settings": dict(record.config),
        "metric": metric.name,
        "best_epoch": record.best.epoch if record.best else None,
        "epochs": epochs,
        "classes": [asdict(each) for each in results.scores] if results else None,
        "confusion": results.confusion.tolist() if results else None,
    }
