"""A fixed small study, and every file and table that sentune makes of it, as stored in tests/golden.

`tests/test_golden.py` makes all of it again and compares it byte for byte with tests/golden. To write tests/golden
again, from the checkout's root:

    OMP_NUM_THREADS=1 .venv/bin/python -m tests.support.golden_study [GROUP ...]

Do that only for a change that is meant to alter what users have on disk or on screen, and read `git diff tests/golden`
line by line before you commit it: each changed line is a study, a checkpoint, a cache entry or a script of a user
that the new version may not read any more. A move or a rename of modules alters no line. A new torch, or another
processor, changes `training` alone, which is then compared within a tolerance until it is written again.

Values that change between runs are replaced by fixed ones: times, the process that wrote a
journal, versions, the code's digest, and the compressed form of packed predictions.
"""

import contextlib
import dataclasses
import io
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from optuna.trial import TrialState

from benchmarks.inputs.recorded_study import some_audit
from core.config import TrialConfig
from core.data.load import load_corpus
from core.io.cache import cache_key, get_or_build
from core.nn.classifier import SentenceClassifier
from core.training.checkpoint import Checkpoint, load_latest, save
from tests.support.cli import exit_code
from tests.support.corpora import tiny_corpus
from tests.support.epochs import epoch
from tests.support.fake_ray import FakeRay
from tests.support.golden_files import GOLDEN, Files, files_in, json_of, uncompressed
from tests.support.golden_training import training
from tests.support.studies import write_sentences
from tests.support.study_configs import plan
from tuning.confirm.execution import record_result
from tuning.confirm.runs import candidates, plan_runs
from tuning.journal.predictions import pack_labels
from tuning.journal.records import SEGMENTS, read_study
from tuning.journal.writer import StudyJournal, open_study
from tuning.resources.machine import TrialResources
from tuning.retrain.models import TrainedModel, save_members
from tuning.scheduling.asha import Asha
from tuning.scheduling.schedule import OOM
from tuning.scheduling.study_config import study_spec

NAME = "mine"
"""The study's."""
JOURNAL = "study.journal"
"""Spelled out: the file must keep its name."""

LABELS: NDArray[np.int64] = np.arange(60) % 2
PLAN = plan(epochs=3, parallelism=4, stopping=Asha(grace=1, reduction=3))
NARROW: dict[str, Any] = {
    "n_layers": 1, "hidden_dim": 48, "bidirectional": True, "pooling": "max", "embedding_dropout": 0.25,
    "weight_dropout": 0.0, "fc_dropout": 0.5, "freeze_embedding": True, "optimizer": "adam", "learning_rate": 0.002,
    "lr_schedule": "constant", "batch_size": 32, "ema_decay": None, "label_smoothing": 0.0,
}  # fmt: skip
DEEP: dict[str, Any] = {
    "n_layers": 2, "hidden_dim": 96, "bidirectional": False, "pooling": "attention", "embedding_dropout": 0.125,
    "lstm_dropout": 0.2, "weight_dropout": 0.25, "fc_dropout": 0.3, "freeze_embedding": False,
    "embedding_lr_scale": 0.5, "optimizer": "adamw", "learning_rate": 0.005, "lr_schedule": "cosine",
    "weight_decay": 0.01, "batch_size": 50, "ema_decay": 0.99, "label_smoothing": 0.1,
}  # fmt: skip
ENVIRONMENT: dict[str, Any] = {
    "torch": "2.0", "threads": 1, "precision": "fp32", "cpu_capability": "AVX2", "cpu": "a processor", "device": "cpu",
    "tf32": False, "code": "0123456789abcdef",
}  # fmt: skip
SEGMENT = {"since": 1767323045.25, "worker": "host/101", "until": 1767323047.5, "paused": 1}
ENDED = {"since": 1767323050.25, "worker": "host/102"}
COMPLETE = {"n_parameters": 21_122, "weights_sha256": "a" * 64, "environment": ENVIRONMENT}


def study(folder: Path) -> Files:
    """The journal of a study with each kind of trial, its readings and fresh runs; and what the commands print."""
    place = folder / NAME
    write_study(place)
    return {JOURNAL: fixed_journal((place / JOURNAL).read_bytes()), **printed(folder)}


def printed(results: Path) -> Files:
    """What `best` and `confirm` print of the study in `results`."""
    best = {form: run(results, "best", NAME, "--format", form) for form in ("table", "json", "csv", "md")}
    best["all"] = run(results, "best", NAME, "--state", "all", "--sort", "-seconds", "--top", "9")
    # Every run is in the journal: nothing is trained.
    confirm = {
        form: run(results, "confirm", NAME, "--top", "2", "--seeds", "2", "--folds", "3", "--format", form)
        for form in ("table", "json")
    }
    tables = {f"best.{form}": text for form, text in best.items()}
    tables |= {f"confirm.{form}": text for form, text in confirm.items()}
    return {name: rounded(text).encode() for name, text in tables.items()}


def run(results: Path, *words: str) -> str:
    """What `sentune` prints, in this process and 120 columns wide."""
    environment = {"COLUMNS": "120", "SENTUNE_RESULTS": str(results)}
    with patch.dict(os.environ, environment), contextlib.redirect_stdout(io.StringIO()) as out:
        code = exit_code(*words)
    assert not code, f"{words} exited with {code}: {out.getvalue()}"
    return out.getvalue()


def write_study(folder: Path) -> None:
    """Trial 0, the notebook's, and 1 are done; 2 was stopped at the rung where it had paused; 3 failed; 4 repeats 1; 5
    was too large for its share of a GPU and is done; 6 runs; 7 is paused."""
    corpus = tiny_corpus()
    spec = study_spec(PLAN, corpus, {"dataset": "tiny.csv", "split": "80/10/10", "seed": 7}, TrialResources())
    spec["versions"] = dict.fromkeys(spec["versions"], "1.2.3")  # the installed ones
    kept = {
        "validation": {"labels": pack_labels(LABELS), "classes": list(corpus.classes)},
        "vocabulary": len(corpus.words),
        "inputs": {"data": {"dataset": "csv", "sha256": "d" * 64}, "vectors": None, "tokenizer": "nltk-0"},
        "audit": some_audit(corpus.classes),
        "command": "sentune run tiny.csv --name mine",
        "test_fingerprint": "0" * 16,
        "plain_baseline": {
            "val_predictions": pack_labels((LABELS + (np.arange(60) < 15)) % 2),
            "val_metric": 0.75,
        },
    }
    with open_study(folder, spec, kept) as journal:
        finish(journal, add(journal, None, "baseline", 24, 22, 20), TrialState.COMPLETE, COMPLETE | ENDED)
        finish(journal, add(journal, NARROW, "sampler", 18, 9, 12), TrialState.COMPLETE, COMPLETE | ENDED)
        stopped = add(journal, DEEP, "sampler", 21)
        journal.set_trial_attr(stopped, SEGMENTS, [SEGMENT])
        finish(journal, stopped, TrialState.PRUNED, None)
        failed = add(journal, DEEP | {"learning_rate": 0.01}, "sampler")
        finish(journal, failed, TrialState.FAIL, {"error": "TrainingError: the loss is nan in epoch 1, step 2"} | ENDED)
        journal.copy_result(1, add(journal, NARROW, "copy of 1"))
        large = add(journal, DEEP | {"hidden_dim": 192}, "sampler", 20, 10, 11)
        journal.set_trial_attr(large, OOM, "OutOfMemoryError: no room on 0.25 of the GPU")
        finish(journal, large, TrialState.COMPLETE, COMPLETE | {"n_parameters": 250_000} | ENDED)
        add(journal, NARROW | {"hidden_dim": 32}, "sampler", 15)
        paused = add(journal, NARROW | {"hidden_dim": 64}, "random", 23)
        journal.set_trial_attr(paused, SEGMENTS, [SEGMENT])
        journal.log_test_evaluation(
            {"val_accuracy": 0.85, "test_accuracy": 0.825, "test_sentences": 40, "test_fingerprint": "0" * 16,
             "epochs": 3},
            verb="retrain", trial=1, seed=7, on="train", split="80/10/10",
        )  # fmt: skip
        for at, each in enumerate(plan_runs(spec, candidates(journal.records(), 2), 2, 3)):
            record_result(journal, each, {"error": "TrainingError: NaN"} if at == 3 else fresh(each.trial, at))


def add(journal: StudyJournal, params: dict[str, Any] | None, origin: str, *wrong: int) -> int:
    """Add a running trial that is wrong after its epochs on a number of validation sentences; None: the notebook's
    setting."""
    if params is None:
        config = TrialConfig.notebook(**PLAN.shared_settings)
        params = PLAN.space.to_params(config)
    else:
        config = PLAN.space.to_config(params, **PLAN.shared_settings)
    number = journal.add_trial(params, PLAN.space.distributions(params), config.to_dict(), origin)
    for at, count in enumerate(wrong, 1):
        predictions = np.where(np.arange(len(LABELS)) < count, 1 - LABELS, LABELS)
        losses = {"train_loss": 0.1 + 0.2 / at, "val_loss": 1 / 3 + count / 64}
        result = epoch(at, 1 - count / len(LABELS), **losses, seconds=0.5 + number)
        journal.record_epoch(number, result, pack_labels(predictions))
    return number


def finish(journal: StudyJournal, number: int, state: TrialState, outcome: Mapping[str, Any] | None) -> None:
    journal.finish_trial(number, state, outcome, PLAN.epochs)


def fresh(trial: int | None, at: int) -> dict[str, Any]:
    """The result of a fresh run, with the keys that tuning's train_run gives (`training` has the real ones)."""
    if trial is None:
        correct = np.arange(40) % 4 > 0
        shares = {"val_accuracy": 0.75, "val_sentences": len(LABELS), "test_accuracy": 0.75, "test_sentences": 40}
        return {**shares, "test_fingerprint": "0" * 16, "correct": pack_labels(correct.astype(int)), "seconds": 0.25}
    correct = np.arange(40) % (5 + trial + at % 2) > 0
    return {
        "best_epoch": 2,
        "val_accuracy": 0.75 + trial / 64,
        "val_loss": 0.5,
        "val_sentences": len(LABELS),
        "test_accuracy": float(correct.mean()),
        "test_loss": 0.5625,
        "test_loss_standard_error": 0.03125,
        "test_sentences": len(correct),
        "test_fingerprint": "0" * 16,
        "epochs": 3,
        "correct": pack_labels(correct.astype(int)),
        "seconds": 1.5 + trial,
        "n_parameters": 1000 + trial,
    }


def fixed_journal(content: bytes) -> bytes:
    """The journal without what differs from one writing to the next; it stays a journal that can be read."""
    text = content.decode()
    # Optuna's name for the process and the thread that wrote the line.
    text = re.sub(r'"worker_id":"[^"]+"', '"worker_id":"worker"', text)
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
    text = re.sub(rf'("datetime_\w+":)"{stamp}\.\d{{6}}\+00:00"', r'\1"2026-01-02T03:04:05.000006+00:00"', text)
    text = re.sub(rf'"time":"{stamp}\+00:00"', '"time":"2026-01-02T03:04:05+00:00"', text)
    return re.sub(r'"data":"([\w+/=]+)"', lambda found: f'"data":"{uncompressed(found[1])}"', text).encode()


def rounded(text: str) -> str:
    """Text with long fractions cut to 10 digits: the last digits of a quantile depend on the processor."""
    return re.sub(r"-?\d+\.\d{10,}(e[+-]?\d+)?", lambda found: f"{float(found[0]):.10g}", text)


def ramp(*shape: int) -> torch.Tensor:
    """Float32 numbers that every processor makes alike."""
    count = int(np.prod(shape))
    return (torch.arange(count, dtype=torch.float32) / 64 - 0.5).reshape(shape)


def checkpoint(folder: Path) -> Files:
    """A training's checkpoints after three epochs: of them the last two."""
    config = TrialConfig(hidden_dim=4, epochs=3)
    for last in (1, 2, 3):
        known = [epoch(each, each / 4, val_loss=1 / each) for each in range(1, last + 1)]
        state = {
            "environment": ENVIRONMENT,
            "step_counts": [5 * last],
            "epochs": [dataclasses.asdict(each) for each in known],
        }
        tensors = {
            "learner.weights.fc.weight": ramp(2, 8) * last,
            "learner.weights.fc.bias": torch.empty(0, 3),
            "predictions": torch.arange(6).to(torch.uint8).repeat(last, 1) % 2,
            "best_log_odds": torch.arange(6, dtype=torch.int16)[:, None],
        }
        training = {**config.to_dict(), "corpus": "0" * 64, "embedding_dim": 8}
        save(folder / "trial", Checkpoint(epoch=last, fingerprint=training, state=state, tensors=tensors))
    assert load_latest(folder / "trial", training) is not None
    return files_in(folder / "trial")


def model(folder: Path) -> Files:
    """The folder that `retrain` leaves."""
    corpus = tiny_corpus(n_words=12, dim=3)
    source = {**corpus.source, "licence": "CC0", "split": "80/10/10", "audit": some_audit(corpus.classes)}
    corpus = dataclasses.replace(corpus, source=source)
    config = TrialConfig(n_layers=2, hidden_dim=4, pooling="attention")
    shapes = SentenceClassifier(config, len(corpus.words), corpus.embedding_dim, len(corpus.classes)).state_dict()
    trained = TrainedModel(
        config=config,
        weights={name: ramp(*value.shape) for name, value in shapes.items()},
        figures={
            "best_epoch": 2, "val_accuracy": 0.75, "val_loss": 0.5, "val_sentences": 24, "test_accuracy": 0.625,
            "test_loss": 0.6, "test_loss_standard_error": 0.05, "test_sentences": 16, "val_loss_standard_error": 0.04,
            "temperature": 1.25,
        },
        rows=[{"epoch": e, "train_loss": 1 / e, "val_loss": 1.5 / e, "seconds": 0.5} for e in (1, 2)],
        environment=ENVIRONMENT,
        weights_sha256="b" * 64,
    )  # fmt: skip
    about = {"trial": 3, "search_trials": 12, "verdict": "reproduced bit for bit", "test_evaluations": 1}
    metrics = {**trained.metrics, **about}
    save_members(folder / "model", [trained.member], metrics, corpus, "sentune retrain mine --trial 3")
    return files_in(folder / "model")


OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "seed 43": {"seed": 43},
    "notebook's split": {"split": "notebook"},
    "a fold": {"split": "folds:5", "fold": 1},
    "columns": {"text_column": "text", "label_column": "label"},
    "encoding": {"encoding": "cp1252"},
    "vectors": {"vectors": "words.vec"},
}


def cache(folder: Path) -> Files:
    """The keys of a file of sentences with several options, and the entry of one of them."""
    sentences = write_sentences(folder / "sentences.csv", 40)
    rows = ["the 0.5 -0.25 0.125 1", "page 0.25 0.5 -1 0", "great -0.5 0.75 0.5 0.0625"]
    (folder / "words.vec").write_text("\n".join(["3 4", *rows]) + "\n")
    keys = {}
    for name, options in OPTIONS.items():
        given = {"vectors": "none", **options}
        if given["vectors"] != "none":
            given["vectors"] = str(folder / given["vectors"])
        corpus = load_corpus(str(sentences), cache_dir=folder / "cache", **given)
        inputs = corpus.source["inputs"]
        assert corpus.fingerprint == cache_key(inputs)
        fixed = json.loads(without_nltk(json.dumps(inputs)))
        keys[name] = {"inputs": fixed, "key": cache_key(fixed)}

    def fill(target: Path) -> None:
        for path in sorted((folder / "cache" / "corpora" / corpus.fingerprint).iterdir()):
            if path.suffix == ".npy":
                shutil.copy(path, target)
            elif path.name != "manifest.json":  # which the store writes itself
                (target / path.name).write_text(without_nltk(path.read_text()))

    made = get_or_build(folder / "fixed", "corpora", fixed, fill)
    entry = {f"corpora/{made.key}/{name}": content for name, content in files_in(made.path).items()}
    return {"keys.json": json_of(keys), **entry}


def without_nltk(text: str) -> str:
    """The installed NLTK's version is a part of each key: replaced, so that another one has the same golden files."""
    return re.sub(r"nltk-\d[\w.]*", "nltk-0", text)


def search(folder: Path) -> Files:
    """The trials of ordered searches with three workers, whose scores follow from the settings; one line a trial."""
    return {f"{sampler}.jsonl": searched(folder / sampler, sampler) for sampler in ("tpe", "random")}


def searched(folder: Path, sampler: str) -> bytes:
    the_plan = plan(sampler=sampler, parallelism=4)
    with open_study(folder, {"fingerprint": ""}) as journal:
        FakeRay(journal, the_plan, 3, random.Random(0)).run()
    lines = [
        {
            "trial": record.number,
            "state": record.state,
            "origin": record.origin,
            "params": dict(record.params),
            "val_accuracy": [epoch.val_accuracy for epoch in record.epochs],
        }
        for record in read_study(folder)[1]
    ]
    return rounded("".join(f"{json.dumps(line)}\n" for line in lines)).encode()


GROUPS: dict[str, Callable[[Path], Files]] = {
    "study": study,
    "checkpoint": checkpoint,
    "model": model,
    "cache": cache,
    "search": search,
    "training": training,
}
"""By folder of tests/golden; each makes its files in an empty folder."""


def main() -> None:
    """Write tests/golden again: the groups that are named, or all."""
    for group in sys.argv[1:] or GROUPS:
        with tempfile.TemporaryDirectory() as empty:
            made = GROUPS[group](Path(empty))
        shutil.rmtree(GOLDEN / group, ignore_errors=True)
        for name, content in made.items():
            path = GOLDEN / group / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        print(f"{group}: {len(made)} files, {sum(map(len, made.values())):,} bytes")


if __name__ == "__main__":
    main()
