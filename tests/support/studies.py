"""A small finished study that was made without Ray, on a file of sentences."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import TrialState

from core.config import TrialConfig
from core.data.corpus import Corpus
from core.data.load import load_corpus
from core.training.loop import train
from core.training.result import EpochResult
from tests.support.study_configs import plan
from tuning.journal.folder import JOURNAL
from tuning.journal.predictions import pack_labels
from tuning.journal.probabilities import pack_log_odds, save_probabilities
from tuning.journal.reader import Operation
from tuning.journal.records import PLAIN_BASELINE, study_attributes
from tuning.journal.writer import open_study
from tuning.plain_fit import fit_and_predict
from tuning.resources.machine import TrialResources
from tuning.scheduling.study_config import study_spec

SEED, EPOCHS = 7, 3
WORDS = {"bug": ("crash", "error"), "praise": ("great", "thanks")}


def write_sentences(path: Path, count: int = 240) -> Path:
    """Two classes; some sentences fit both."""
    rows = ["text,label"]
    for i in range(count):
        label = list(WORDS)[i % 2]
        word = WORDS[label][i % 3 % 2] if i % 5 else "thing"
        rows.append(f"the {word} {i * 7 % 23} of page {i * 13 % 29} and user {i},{label}")
    path.write_text("\n".join(rows))
    return path


def write_noisy(path: Path, count: int) -> Path:
    """Write sentences of random words, each of which speaks for a class; no model is right about all of them."""
    random = np.random.default_rng(0)
    votes = random.normal(0, 1, 50)
    words = random.integers(0, 50, (count, 6))
    labels = votes[words].sum(axis=1) + random.normal(0, 1, count) > 0
    rows = [f"{' '.join(f'w{word}' for word in each)},{label}" for each, label in zip(words, labels, strict=True)]
    path.write_text("\n".join(["text,label", *rows]))
    return path


def setting(**changes: Any) -> TrialConfig:
    """A trial's settings."""
    settings: dict[str, Any] = {
        "hidden_dim": 6, "batch_size": 16, "learning_rate": 0.01, "fc_dropout": 0.2, "epochs": EPOCHS, "seed": SEED,
    }  # fmt: skip
    return TrialConfig(**(settings | changes))


def data_of(file: Path) -> dict[str, Any]:
    """Arguments of load_corpus as a spec holds them."""
    return {
        "dataset": str(file), "vectors": "none", "text_column": None, "label_column": None, "split_column": None,
        "split": "80/10/10", "encoding": None, "embedding_dim": 8, "allow_leak": False, "seed": SEED,
        "tokenizer": "english",
    }  # fmt: skip


def make_study(
    folder: Path,
    file: Path,
    cache: Path | None,
    *configs: TrialConfig,
    stopped: int | None = None,
    validation: str = "split",
) -> None:
    """Train each setting as a search would and write it down; trial `stopped` is stopped after its second epoch."""
    data = {**data_of(file), "validation": validation}
    corpus = load_corpus(**data, cache_dir=cache)
    spec = study_spec(plan(epochs=EPOCHS, seed=SEED), corpus, data, TrialResources())
    labels = corpus.labels[corpus.validation()]
    kept = {
        "validation": {"labels": pack_labels(labels), "classes": list(corpus.classes)},
        "inputs": corpus.source["inputs"],
        "audit": corpus.source["audit"],
        "vocabulary": corpus.trained_words,
        "test_fingerprint": corpus.test_fingerprint(),
    }
    with open_study(folder, spec, kept) as study_journal:
        for config in configs:
            number = study_journal.add_trial(
                {}, {}, config.to_dict(), "sampler" if study_journal.trials() else "baseline"
            )
            epochs, outcome = _trained(config, corpus)
            for epoch, predictions, log_odds in epochs[: 2 if number == stopped else None]:
                study_journal.record_epoch(number, epoch, predictions, log_odds)
            if number == stopped:
                study_journal.finish_trial(number, TrialState.PRUNED, None, EPOCHS)
            else:
                study_journal.finish_trial(number, TrialState.COMPLETE, outcome, EPOCHS)


def add_plain_baseline(folder: Path, cache: Path | None) -> None:
    """Fit the study's plain baseline and write it down, as a search does."""
    spec = study_attributes(folder)["spec"]
    found = fit_and_predict(spec["data"], spec["fingerprint"], spec["metric"], None if cache is None else str(cache))
    with open_study(folder, spec) as journal:
        save_probabilities(folder, PLAIN_BASELINE, found.pop("packed_log_odds"))
        journal.set_study_attr(PLAIN_BASELINE, found)


def _trained(config: TrialConfig, corpus: Corpus) -> tuple[list[tuple[EpochResult, Any, str | None]], dict[str, Any]]:
    """What a worker reports: each epoch with its predictions and perhaps its log-odds, and the outcome."""
    packed: list[Any] = []
    epochs: list[tuple[EpochResult, Any, str | None]] = []
    result = train(
        config,
        corpus,
        on_validation=lambda epoch, predictions, log_odds: packed.append(
            (pack_labels(predictions), None if log_odds is None else pack_log_odds(log_odds))
        ),
        report=lambda epoch: epochs.append((epoch, *packed.pop())),
    )
    return epochs, {
        "n_parameters": result.n_parameters,
        "weights_sha256": result.weights_sha256,
        "environment": dict(result.environment),
    }


def tamper(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Let `change` edit every record of the study's journal."""
    journal = folder / JOURNAL
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    for record in records:
        change(record)
    journal.write_text("".join(f"{json.dumps(record)}\n" for record in records))


def epoch_record(trial: int, epoch: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    """An edit that puts other values into an epoch of a trial."""

    def change(record: dict[str, Any]) -> None:
        found = record.get("user_attr", {}).get(f"epoch:{epoch}")
        if found and record["trial_id"] == trial:
            found.update(values)

    return change


def outcome_record(trial: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    """An edit that puts other values into the outcome of a trial; None takes one away."""

    def change(record: dict[str, Any]) -> None:
        found = record.get("user_attr", {}).get("result")
        if found and record["trial_id"] == trial:
            for name, value in values.items():
                found.pop(name, None)
                if value is not None:
                    found[name] = value

    return change


def config_record(trial: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    """An edit that puts other values into the settings of a trial; None takes one away."""
    seen = iter(range(10**6))

    def change(record: dict[str, Any]) -> None:
        if record["op_code"] == Operation.CREATE_TRIAL and next(seen) == trial:
            config = record["user_attrs"]["config"]
            config.update({name: value for name, value in values.items() if value is not None})
            for name in (name for name, value in values.items() if value is None):
                del config[name]

    return change
