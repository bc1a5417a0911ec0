"""The verb `distill`: train one LSTM on the probabilities of a larger model, compare it with an earlier run, save it.

The student has the settings of a trial, and the training sentences of its study. Unlabelled sentences can be added.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.config import TrialConfig, changed_settings
from core.data.corpus import TEST, TRAIN, VAL, Corpus
from core.data.load import load_texts
from core.data.splits import normalize_text
from core.data.tokenizer import tokenize, tokenizer_name
from core.data.vocabulary import Vocabulary
from core.errors import ConfigError, DataError
from core.inference.predictor import MAX_TOKENS, Predictor, load_model
from core.inference.saved_model import check_model_folder
from core.io import cache
from core.io.text import listed, quoted
from core.nn.runtime import TRAINING_KERNELS, default_modes, limit_cached_kernels, torch_threads
from core.training.result import TrainResult
from tuning.analysis.trial_detail import searched_settings
from tuning.console import command_line
from tuning.journal.records import TrialRecord, is_validated_in_folds, read_study, to_epoch
from tuning.journal.writer import open_study
from tuning.retrain.command import select_trial
from tuning.retrain.environment_diff import data_changes, environment_changes, environment_now
from tuning.retrain.models import RetrainContext, TrainedModel, evaluate_model, save_members, train_seed
from tuning.retrain.output import print_epoch, print_figures, print_quality, train_on_both
from tuning.retrain.reproduction import Reproduction, reproduction_of
from tuning.retrain.training import device_of, split_name, study_corpus
from tuning.serving.inputs import sentence_batches
from tuning.study_options import BOTH, DistillOptions

VERB = "distill"
LABEL_SHARE = 0.5
"""Share of the label in the target of a labelled sentence; the rest is the teacher's probabilities."""


def distill_model(model: Path, options: DistillOptions) -> Reproduction | None:
    """Train on the probabilities of a model, compare, measure, save, and print each step.

    Returns:
        The comparison with an earlier run of the same command; None for the first run.

    Raises:
        UserError: There is no such model, study or trial, another process runs the study, or the model cannot be
            written.
        ConfigError: The options conflict, or the model does not fit the study.
        DataError: The sentences cannot be read.
        TrainingError: The loss or the metric is not a number.
    """
    target = options.model_folder
    if os.path.realpath(target) == os.path.realpath(model):
        raise ConfigError(f"--out must be another folder than MODEL, got {str(target)!r}")
    spec = read_study(options.folder)[0]["spec"]
    if is_validated_in_folds(spec):
        raise ConfigError(
            f"study {options.folder.name!r} is validated in folds; choose a study with a validation split to distill"
        )
    check_model_folder(target)
    with open_study(options.folder, spec) as journal:
        attributes, records = read_study(options.folder)  # again: another process may just have trained a trial
        record = select_trial(options.folder, options.trial, attributes, records)
        limit_cached_kernels(TRAINING_KERNELS)  # before the teacher predicts, which sets a lower limit
        teacher = load_model(model, notify=print)
        config, corpus, facts = _student(model, options, attributes, teacher, record.trial_config)
        context = RetrainContext(
            verb=VERB,
            journal=journal,
            trial=record.number,
            config=config,
            corpus=corpus,
            split=split_name(spec, facts["study_fingerprint"]),
            threads=spec["threads"],
            device=device_of(spec),
        )
        print(f"training with the settings of trial {record.number}: {searched_settings(record, spec)}")
        result = train_seed(context, context.config.seed, None, partial(print_epoch, context.config))
        verdict = _verify(context, result, record, facts)
        trained = _measured(options, context, result)
        about = {
            "trial": record.number,
            "on": options.on,
            **({} if verdict is None else {"verdict": str(verdict)}),
            **facts,
            "teacher_test_fingerprint": teacher.metrics.get("test_fingerprint") or "not known",
            "test_evaluations": len(journal.test_evaluations),
        }
        save_members(target, [trained.member], {**trained.metrics, **about}, corpus, command_line())
        shutil.rmtree(context.checkpoints, ignore_errors=True)
        if verdict is None:  # last: a command that resumes from these checkpoints would be compared with itself
            _record(context, result, facts)
    return verdict


def _check_classes(model: Path, teacher: Sequence[str], data: Sequence[str]) -> None:
    if list(teacher) != list(data):
        pairs = (teacher, data), (data, teacher)
        shown = [listed([quoted(name) for name in one if name not in other], 10) or "no other" for one, other in pairs]
        raise ConfigError(
            f"MODEL and the data must have the same classes: where they differ, {model} has {shown[0]}, "
            f"the data have {shown[1]}; choose another model or study"
        )


def _tokenized(texts: Sequence[str], tokenizer: str) -> list[list[str]]:
    """Return the words of each text; equal words are one object, so that a million sentences fit in memory."""
    return [[*map(sys.intern, tokenize(text, tokenizer))] for text in texts]


def _student(
    model: Path,
    options: DistillOptions,
    attributes: Mapping[str, Any],
    teacher: Predictor,
    config: TrialConfig,
) -> tuple[TrialConfig, Corpus, dict[str, Any]]:
    """Return settings and corpus of the student, and the origin of its targets for metrics and card."""
    spec = attributes["spec"]
    corpus = study_corpus(spec, options.places, options.cache_dir, print)
    for change in data_changes(spec, attributes["inputs"], corpus):
        print(f"changed since the search: {change}")
    _check_classes(model, teacher.classes, corpus.classes)
    texts = load_texts({**spec["data"], **options.places}, corpus.fingerprint, options.cache_dir)
    facts = {**_describe_teacher(model, teacher, corpus), "study_fingerprint": corpus.fingerprint}
    extra, more = _read_unlabelled(options, texts, teacher)
    facts |= more
    tokenizer = tokenizer_name(corpus.source["tokenizer"])
    if teacher.tokenizer != tokenizer:
        raise ConfigError(
            f"MODEL and STUDY must have the same tokenizer: {model} has {teacher.tokenizer}, the study has "
            f"{tokenizer}; choose another model or study"
        )
    taught, val = np.flatnonzero(corpus.split != TEST), corpus.indices(VAL)
    soft = np.zeros((len(texts), len(corpus.classes)))
    print(f"labelling {len(taught):,} sentences with the teacher ...", flush=True)
    tokens = _tokenized([texts[place] for place in taught], tokenizer)
    soft[taught] = teacher_probabilities(teacher, tokens, spec["threads"])
    trained, known = "", teacher.metrics
    if "verified_val_accuracy" in known:
        trained = ", which was trained on train and val"
    elif known.get("study_fingerprint", known.get("data_fingerprint")) != corpus.fingerprint:
        trained = ", which may have learned from val: its data, splits, word vectors or tokenizer are not the study's"
    print(f"val  accuracy {(soft[val].argmax(axis=1) == corpus.labels[val]).mean():.4f} of the teacher{trained}")
    unlabelled = _tokenized(extra, tokenizer)
    if unlabelled:
        print(f"labelling {len(unlabelled):,} unlabelled sentences with the teacher ...", flush=True)
    taught_corpus = dataclasses.replace(corpus, targets=mixed_targets(corpus, soft))
    larger = add_sentences(taught_corpus, unlabelled, teacher_probabilities(teacher, unlabelled, spec["threads"]))
    return scale_epoch(config, corpus.pass_sentences(), larger.pass_sentences()), larger, facts


def scale_epoch(config: TrialConfig, before: int, after: int) -> TrialConfig:
    """Return the settings with which an epoch is the same part of a pass over a larger training split."""
    if config.epoch_sentences is None:
        return config
    return config.replace(epoch_sentences=-(-config.epoch_sentences * after // before))


def _read_unlabelled(
    options: DistillOptions, known: Sequence[str], teacher: Predictor
) -> tuple[list[str], dict[str, Any]]:
    """Return the unlabelled sentences that are new, and a digest that identifies them."""
    if options.unlabelled is None:
        return [], {}
    found: list[str] = []
    cache_dir = cache.default_dir() if options.cache_dir is None else options.cache_dir
    for batch in sentence_batches(
        options.unlabelled, options.text_column, options.encoding, cache_dir, print, "--unlabelled"
    ):
        if max(map(len, batch.texts)) > MAX_TOKENS // 3:  # lower case and NFC make at most three characters of one
            teacher.encode(batch.texts, batch.location)  # refuses a sentence that is too long, by its line
        found += batch.texts
    if not found:
        raise DataError(f"--unlabelled {options.unlabelled}: no sentence; write at least one, or leave out the option")
    extra = new_sentences(found, known)
    left_out = f"{len(found) - len(extra):,} left out, which are blank, repeated or in the study"
    print(f"unlabelled: {len(extra):,} sentences; {left_out}")
    if not extra:
        return [], {}
    digest = hashlib.sha256("\0".join(extra).encode("utf-8", "surrogatepass")).hexdigest()
    return extra, {"unlabelled_sentences": len(extra), "unlabelled_digest": digest}


def teacher_probabilities(teacher: Predictor, sentences: Sequence[Sequence[str]], threads: int) -> NDArray[np.float64]:
    """Return (n, C) the teacher's probabilities of tokenised sentences, on whose last digits the training depends.

    Args:
        teacher: The model.
        sentences: (n,) tokenised.
        threads: CPU threads to use; the process's number is restored.
    """
    with torch_threads(threads), default_modes("cpu"):
        logs = teacher.log_probabilities([teacher.vocabulary.encode(words) for words in sentences])
    return teacher.calibrate(logs)


def _describe_teacher(path: Path, teacher: Predictor, corpus: Corpus) -> dict[str, Any]:
    """Print the teacher's members, and whether it may know test sentences; return data that identify it."""
    shares = {member.name: round(member.weight, 4) for member in teacher.members}
    print(f"teacher: {path} ({', '.join(f'{name} {share:g}' for name, share in shares.items())})")
    if len(corpus.indices(TEST)) and teacher.metrics.get("test_fingerprint") != corpus.test_fingerprint():
        print("the teacher was trained with another test split, so it may know sentences of this one")
    return {"teacher": str(path), "teacher_members": shares, "teacher_digest": teacher.digest}


def new_sentences(texts: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the texts, without blank ones and those that equal a known or an earlier one (see `normalize_text`)."""
    seen = {normalize_text(text) for text in known} | {""}
    found = []
    for text in texts:
        form = normalize_text(text)
        if form not in seen:
            seen.add(form)
            found.append(text)
    return found


def mixed_targets(corpus: Corpus, soft: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (n, C): the mean of the teacher's probabilities (n, C) and the labels; labels alone for the test split."""
    labels = np.eye(len(corpus.classes), dtype=np.float32)[corpus.labels] if corpus.targets is None else corpus.targets
    mixed = (1 - LABEL_SHARE) * soft + LABEL_SHARE * labels
    return np.where(corpus.split[:, None] == TEST, labels, mixed.astype(np.float32))


def add_sentences(corpus: Corpus, sentences: Sequence[Sequence[str]], soft: NDArray[np.float64]) -> Corpus:
    """Return the corpus with more TRAIN sentences; the vocabulary stays.

    Args:
        corpus: A corpus with targets. Its fingerprint is replaced by one of its tokens and targets.
        sentences: (m,) tokenised, without labels.
        soft: (m, C) targets of the sentences.
    """
    vocabulary = Vocabulary(corpus.words)
    ids = [np.array(vocabulary.encode(words), dtype=np.int32) for words in sentences]
    ends = corpus.offsets[-1] + np.cumsum([len(each) for each in ids], dtype=np.int64)
    tokens = np.concatenate([corpus.tokens, *ids])
    targets = np.concatenate([np.asarray(corpus.targets), soft.astype(np.float32)])
    parts = corpus.fingerprint.encode(), tokens.astype("<i4").tobytes(), targets.astype("<f4").tobytes()
    return dataclasses.replace(
        corpus,
        tokens=tokens,
        offsets=np.concatenate([corpus.offsets, ends]),
        labels=np.concatenate([corpus.labels, soft.argmax(axis=1)]),
        split=np.concatenate([corpus.split, np.full(len(ids), TRAIN, dtype=np.uint8)]),
        targets=targets,
        fingerprint=hashlib.sha256(b"".join(parts)).hexdigest(),
    )


def _record_key(context: RetrainContext, facts: Mapping[str, Any]) -> str:
    """Return the name of the study attribute that has the first run with these inputs."""
    settings = changed_settings(context.config.to_dict())
    inputs = [settings, LABEL_SHARE, {name: facts[name] for name in facts if name != "teacher"}]
    return f"{VERB}:{hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]}"


def _verify(
    context: RetrainContext, result: TrainResult, record: TrialRecord, facts: Mapping[str, Any]
) -> Reproduction | None:
    """Compare a training with the record of the first run with the same inputs; return None if there is none."""
    earlier = context.journal.attributes.get(_record_key(context, facts))
    if not earlier:
        return None
    first = dataclasses.replace(
        record,
        epochs=tuple(map(to_epoch, earlier["epochs"])),
        weights_sha256=earlier["weights_sha256"],
        predictions=(),
    )
    environment = environment_now(context.config.precision, context.threads, context.device)
    changes = environment_changes(earlier["environment"], environment)
    verdict = reproduction_of(first, result, changes, source="the first run")
    print(verdict)
    return verdict


def _record(context: RetrainContext, result: TrainResult, facts: Mapping[str, Any]) -> None:
    written = {
        "trial": context.trial,
        "epochs": [dataclasses.asdict(epoch) for epoch in result.epochs],
        "weights_sha256": result.weights_sha256,
        "environment": environment_now(context.config.precision, context.threads, context.device),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    context.journal.set_study_attr(_record_key(context, facts), written)
    print(f"RECORDED {len(result.epochs)} epochs, with which the same command will compare its epochs")


def _measured(options: DistillOptions, context: RetrainContext, result: TrainResult) -> TrainedModel:
    if options.on == BOTH:
        model = train_on_both(context, result)
    else:
        model = evaluate_model(context, result)
        print_figures(model)
    print_quality(model.figures, context.corpus.classes)
    return model
