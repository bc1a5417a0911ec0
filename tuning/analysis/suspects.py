"""Sentences whose label is most likely wrong, by the probabilities of models that did not see them.

The margin of a sentence is the probability of its label minus the largest one of the other classes. It comes from
confident learning (Northcutt, Jiang and Chuang 2021, Journal of Artificial Intelligence Research 70). The probabilities
are means over the best trials, because different settings err on different sentences. A wrong label is likely if all of
them contradict it with confidence.
"""

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.corpus import TEST
from core.data.load import load_corpus, load_texts
from core.errors import DataError, UserError
from core.metrics import METRICS
from tuning.console import cache_option, program_name, study_command
from tuning.formatting import align_columns, brief_text, csv_table, short_names
from tuning.journal.folder import missing_files
from tuning.journal.predictions import unpack_validation_labels
from tuning.journal.probabilities import epoch_name, file_name, load_probabilities
from tuning.journal.reader import data_arguments
from tuning.journal.records import TrialRecord, is_candidate, is_validated_in_folds, rank_trials, read_study

BEST = 4
"""The best 1/BEST of the trials count, at least one."""
MAX_ROWS = 50
"""Maximum number of rows of the text table."""
MIN_TEXT, MAX_TEXT = 20, 60
"""Least and largest number of terminal cells for a text in the text table. If fewer are left, it has its own line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """One sentence that the models classify differently from its label."""

    sentence: int
    """Index among the checked sentences, from 0."""
    label: str
    predicted: str
    label_probability: float
    predicted_probability: float
    text: str


def mean_probabilities(
    folder: Path, records: Sequence[TrialRecord], n_sentences: int, n_classes: int
) -> NDArray[np.float64] | None:
    """Return (n, C) mean probabilities of the best trials of a study; None if none are stored.

    Raises:
        CorruptionError: Stored probabilities are damaged.
    """
    ranked = [record for record in rank_trials(records) if is_candidate(record)]
    total, count = np.zeros((n_sentences, n_classes)), 0
    for record in ranked[: -(-len(ranked) // BEST)]:
        assert record.best is not None
        stored = load_probabilities(folder, epoch_name(record.number, record.best.epoch), n_sentences, n_classes)
        if stored is not None:
            total += stored
            count += 1
    return total / count if count else None


def find_suspects(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], classes: Sequence[str], texts: Sequence[str]
) -> list[Suspect]:
    """Return the sentences whose most probable class is not their label, by rising margin.

    Args:
        labels: (n,) the given labels.
        probabilities: (n, C) from models that were not trained on these sentences.
        classes: C class names.
        texts: (n,)
    """
    rows = np.arange(len(labels))
    predicted = probabilities.argmax(axis=1)
    margins = probabilities[rows, labels] - probabilities[rows, predicted]
    return [
        Suspect(
            sentence=place,
            label=classes[labels[place]],
            predicted=classes[predicted[place]],
            label_probability=float(probabilities[place, labels[place]]),
            predicted_probability=float(probabilities[place, predicted[place]]),
            text=texts[place],
        )
        for place in np.argsort(margins, kind="stable").tolist()
        if predicted[place] != labels[place]
    ]


def suspects_of(
    folder: Path, attributes: Mapping[str, Any], records: Sequence[TrialRecord], cache_dir: Path | None
) -> tuple[list[Suspect], int]:
    """Return the suspects of a study, the most suspicious first, and the number of sentences that were checked.

    A study with a validation split whose folds were all trained by `confirm` is checked by the winner over the folds.

    Raises:
        UserError: The study has no probabilities yet, or its data cannot be read.
    """
    spec, classes = attributes["spec"], tuple(attributes["validation"]["classes"])
    if not is_validated_in_folds(spec) and (names := _fold_files(attributes)):
        texts = load_texts(spec["data"], spec["fingerprint"], cache_dir)
        if found := _over_folds(folder, data_arguments(spec), names, cache_dir):
            return find_suspects(*found, classes, texts), len(texts)
    labels = unpack_validation_labels(attributes)
    means = mean_probabilities(folder, records, len(labels), len(classes))
    if means is None:
        raise UserError(
            f"study {folder.name!r} has no probabilities yet; run its command until a trial has ended, or restore its "
            "folder probabilities"
        )
    texts = load_texts(spec["data"], spec["fingerprint"], cache_dir, only_validation=True)
    return find_suspects(labels, means, classes, texts), len(labels)


def _fold_files(attributes: Mapping[str, Any]) -> list[str]:
    """Return the files of probabilities by fold, of the best setting that `confirm --folds` trained on all folds.

    The best is by the mean of the study's metric over the folds.
    """
    metric = METRICS[attributes["spec"]["metric"]]
    name = f"test_{metric.name}"
    runs: dict[tuple[int, int, int], dict[int, tuple[str, float]]] = {}
    for key, run in sorted(attributes.items()):  # the journal has the runs in the order in which they ended
        trained = key.startswith("confirm:") and run.get("trial") is not None and name in run
        if trained and run["fold"] is not None:
            found = runs.setdefault((run["trial"], run["seed"], run["folds"]), {})
            found[run["fold"]] = file_name(key), metric.oriented(run[name])
    whole = [found for (_, _, count), found in runs.items() if count == len(found) and {*found} == {*range(len(found))}]
    best = max(whole, key=lambda found: fmean(score for _, score in found.values()), default={})
    return [best[fold][0] for fold in range(len(best))]


def _over_folds(
    folder: Path, data: Mapping[str, Any], names: Sequence[str], cache_dir: Path | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Return labels (n,) and probabilities (n, C) of all sentences; None if the probabilities of a fold are absent.

    Raises:
        UserError: The data cannot be read.
    """
    found, places = [], []
    for fold, name in enumerate(names):
        corpus = load_corpus(**{**data, "split": f"folds:{len(names)}", "fold": fold}, cache_dir=cache_dir)
        places.append(corpus.indices(TEST))
        stored = load_probabilities(folder, name, len(places[-1]), len(corpus.classes))
        if stored is None:
            return None
        found.append(stored.astype(np.float64))
    return corpus.labels, np.concatenate(found)[np.argsort(np.concatenate(places))]


def suspects_text(folder: Path, cache_dir: Path | None, form: str, **places: str) -> str:
    """Return the suspects of a study as `text`, `json` or `csv`, the most suspicious first.

    Args:
        folder: Folder of the study.
        cache_dir: Folder of the data cache.
        form: Name of the format.
        places: New paths of `dataset` and `vectors`; others are as in the study.

    Raises:
        UserError: There is no such study, it has no probabilities yet, or its data cannot be read.
    """
    attributes, records = read_study(folder)
    spec = {**attributes["spec"], "data": {**attributes["spec"]["data"], **places}}
    if gone := missing_files(spec["data"]):
        known = {name: shlex.quote(path) for name, path in places.items()} | dict.fromkeys(gone, "PATH")
        paths = " ".join(path if name == "dataset" else f"--{name} {path}" for name, path in sorted(known.items()))
        command = f"{program_name()} data {paths} --suspects {shlex.quote(str(folder))}{cache_option(cache_dir)}"
        raise DataError(f"{spec['data'][gone[0]]}: no such file; if it was moved, pass its new path: {command}")
    # It prepares the data again if the cache has lost them.
    corpus = load_corpus(**data_arguments(spec), cache_dir=cache_dir)
    if corpus.fingerprint != spec["fingerprint"]:
        raise DataError(
            f"{spec['data']['dataset']}, the word vectors, or the version of sentune, NLTK or regex, has changed since "
            "the study was created; restore the old one"
        )
    found, n_sentences = suspects_of(folder, {**attributes, "spec": spec}, records, cache_dir)
    if form == "json":
        return json.dumps([asdict(each) for each in found], indent=2)
    if form == "csv":
        return csv_table([field.name for field in fields(Suspect)], map(astuple, found))
    labels = unpack_validation_labels(attributes)
    only_validation = not is_validated_in_folds(attributes["spec"]) and n_sentences == len(labels)
    moved = "".join(f" --{name} {shlex.quote(path)}" for name, path in places.items())
    options = f"--top 1 --seeds 2 --folds 5{moved}{cache_option(cache_dir)}"
    confirm = study_command("confirm", folder, options) if only_validation else None
    return "\n".join([*suspects_table(found), "", *_notes(found, n_sentences, confirm)])


def suspects_table(found: Sequence[Suspect]) -> list[str]:
    """Return the lines of the table of the first MAX_ROWS suspects, as wide as the terminal."""
    rows = found[:MAX_ROWS]
    names = short_names(name for each in rows for name in (each.label, each.predicted))
    cells = [
        [
            f"{at}",
            names[each.label],
            f"{each.label_probability:.2f}",
            names[each.predicted],
            f"{each.predicted_probability:.2f}",
        ]
        for at, each in enumerate(rows, 1)
    ]
    head, *lines = align_columns([("", "label", "prob", "predicted", "prob"), *cells])
    width = shutil.get_terminal_size().columns
    room, between = width - len(head) - 2, "  "
    if room < MIN_TEXT:
        room, between = width - 4, "\n    "
    texts = (brief_text(each.text, min(room, MAX_TEXT)) for each in rows)
    table = [f"{line}{between}{text}" for line, text in zip(lines, texts, strict=True)]
    return [f"{head}{between}text", "-" * min(width, len(head) + 2 + MAX_TEXT), *table]


def _notes(found: Sequence[Suspect], n_sentences: int, confirm: str | None) -> list[str]:
    notes = [f"in {len(found):,} of {n_sentences:,} sentences, the most probable class is not the label"]
    if len(found) > MAX_ROWS:
        notes.append(f"the table has the {MAX_ROWS} most suspicious ones; pass --format csv for all")
    if confirm is not None:
        notes += ["only the validation split was checked; to check all sentences, run:", f"  {confirm}"]
    return notes
