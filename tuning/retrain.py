"""Train the winner again, compare every epoch with what the search recorded, and save the model."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.card import write_card
from core.config import TrialConfig
from core.corpus import TEST, VAL, Corpus
from core.epoch import EpochResult
from core.errors import StopTraining, UserError
from core.evaluate import evaluate
from core.load import load_corpus
from core.saved_model import check_target, save_model
from core.train import TrainResult, train
from tuning.records import TrialRecord, read_study
from tuning.results import ranking, settings_text

COMPARED = ("train_loss", "val_loss", "val_accuracy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How a retraining compares with the search's record."""

    epochs: int
    """Epochs that the search recorded."""
    equal: int
    """How many of them, from the first on, came out bit for bit the same."""
    difference: str | None
    """The first difference; None when there is none."""

    def __str__(self) -> str:
        if self.difference is None:
            return f"REPRODUCED {self.equal}/{self.epochs} epochs"
        return f"DIFFERS: {self.equal}/{self.epochs} epochs reproduced, then {self.difference}"


def choose(records: Sequence[TrialRecord], wanted: str) -> TrialRecord:
    """The trial that `--trial` names: `best` or a number.

    Raises:
        UserError: there is no such trial, or it has no finished epoch.
    """
    if wanted == "best":
        rows = ranking(records, (), top=1)
        if not rows or rows[0].rank != 1:
            raise UserError("no trial of this study has finished yet: run the study first")
        return records[rows[0].trial]
    numbers = {str(record.number): record for record in records}
    if wanted not in numbers:
        raise UserError(f"--trial must be best or a number from 0 to {len(records) - 1}, got {wanted!r}")
    if not numbers[wanted].epochs:
        raise UserError(f"trial {wanted} has no finished epoch ({numbers[wanted].error or 'it has not ended'})")
    return numbers[wanted]


def compare(recorded: Sequence[EpochResult], trained: Sequence[EpochResult]) -> Verdict:
    """Epoch by epoch: losses and accuracy must be equal to the last bit; times may differ."""
    for at, (old, new) in enumerate(zip(recorded, trained, strict=False)):
        for name in COMPARED:
            was, now = getattr(old, name), getattr(new, name)
            if was != now:
                return Verdict(
                    epochs=len(recorded),
                    equal=at,
                    difference=f"epoch {old.epoch} has {name} {now!r} where the search recorded {was!r}",
                )
    if len(trained) < len(recorded):
        return Verdict(
            epochs=len(recorded), equal=len(trained), difference=f"training ended after epoch {len(trained)}"
        )
    return Verdict(epochs=len(recorded), equal=len(recorded), difference=None)


def train_again(
    record: TrialRecord, corpus: Corpus, threads: int, device: str, say: Callable[[EpochResult], None]
) -> TrainResult:
    """Train a recorded trial for as many epochs as it had in the search."""
    last = record.epochs[-1].epoch

    def report(epoch: EpochResult) -> None:
        say(epoch)
        if epoch.epoch == last:
            raise StopTraining

    config = TrialConfig.from_dict(record.config)
    return train(config, corpus, report=report, threads=threads, device=device)


def measure(result: TrainResult, corpus: Corpus, threads: int, device: str) -> dict[str, Any]:
    """Validation and test figures of the best epoch's weights; the test split is read here."""
    figures: dict[str, Any] = {
        "best_epoch": result.best_epoch,
        "val_accuracy": result.best_val_accuracy,
        "val_loss": result.best_val_loss,
    }
    for name, split in (("val", VAL), ("test", TEST)):
        sentences = corpus.indices(split)
        if not len(sentences):
            continue
        judged = evaluate(result.config, result.weights, corpus, split, threads=threads, device=device)
        if split == TEST:
            figures |= {"test_accuracy": judged.accuracy, "test_loss": judged.loss}
        error = loss_error(judged.probabilities, corpus.labels[sentences])
        figures |= {f"{name}_loss_standard_error": error, f"{name}_sentences": len(sentences)}
    return figures


def loss_error(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Standard error of the mean cross-entropy, from each sentence's own: (n, C) and (n,)."""
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses = -np.log(np.maximum(given, np.finfo(np.float32).tiny))  # a share may be too small for float32
    return float(losses.std() / np.sqrt(len(losses)))


def save(
    out: Path,
    result: TrainResult,
    corpus: Corpus,
    figures: Mapping[str, Any],
    verdict: Verdict,
    record: TrialRecord,
    command: str,
) -> None:
    """Write the model folder."""
    metrics = {
        **figures,
        "trial": record.number,
        "verdict": str(verdict),
        "epochs": [dataclasses.asdict(epoch) for epoch in result.epochs],
        "environment": dict(result.environment),
        "weights_sha256": result.weights_sha256,
        "data_fingerprint": corpus.fingerprint,
    }
    save_model(
        out,
        config=result.config,
        weights=result.weights,
        words=corpus.words,
        classes=corpus.classes,
        embedding_dim=corpus.embedding_dim,
        tokenizer=corpus.source["tokenizer"],
        metrics=metrics,
        card=write_card(source=corpus.source, metrics=metrics, config=result.config, command=command),
    )


def retrain(folder: Path, wanted: str, out: Path, cache_dir: Path | None, command: str) -> Verdict:
    """The verb: train, compare, measure, save, and print each step.

    Args:
        folder: the study's.
        wanted: `best` or a trial's number.
        out: the model folder to write.
        cache_dir: of the data cache.
        command: what the person typed, for the model's card.

    Raises:
        UserError: no such study or trial, or `out` cannot be written.
    """
    spec, records = read_study(folder)
    record = choose(records, wanted)
    check_target(out)
    corpus = load_corpus(**spec["data"], cache_dir=cache_dir, progress=print)
    if corpus.fingerprint != spec["fingerprint"]:
        print("the data differ from the study's: the figures below are those of other data")
    print(f"training trial {record.number}: {settings_text(record.params)}")
    result = train_again(record, corpus, spec["threads"], spec["device"], _print_epoch)
    verdict = compare(record.epochs, result.epochs)
    print(verdict)
    figures = measure(result, corpus, spec["threads"], spec["device"])
    figures["search_trials"] = sum(bool(each.epochs) for each in records)
    for split in ("val", "test"):
        if f"{split}_accuracy" in figures:
            print(
                f"{split:<4} accuracy {figures[f'{split}_accuracy']:.4f} on {figures[f'{split}_sentences']} sentences"
            )
    save(out, result, corpus, figures, verdict, record, command)
    print(f"model saved in {out}")
    return verdict


def _print_epoch(epoch: EpochResult) -> None:
    print(
        f"epoch {epoch.epoch}: train loss {epoch.train_loss:.4f}, val loss {epoch.val_loss:.4f}, "
        f"val accuracy {epoch.val_accuracy:.4f}, {epoch.seconds:.1f} s",
        flush=True,
    )
