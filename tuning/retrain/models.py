"""The models that `retrain` makes of a trial, with their figures: its own, on fresh seeds, on train and validation."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from core.config import TrialConfig
from core.data.corpus import TEST, VAL, Corpus
from core.inference.model_card import render_model_card
from core.inference.saved_model import save_model
from core.training.evaluate import evaluate
from core.training.refit import refit
from core.training.result import EpochResult, TrainResult
from tuning.journal.writer import StudyJournal
from tuning.retrain.training import evaluate_on_test, held_out_metrics, metrics_of, train_resumable


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainContext:
    """Where a trial is trained again."""

    journal: StudyJournal
    trial: int
    config: TrialConfig
    """As in the search, but for what the person chose to change."""
    corpus: Corpus
    split: str
    """How the test split was made, for the list of its readings."""
    threads: int
    device: str

    @property
    def checkpoints(self) -> Path:
        """Of all its trainings, in a folder for each seed."""
        return self.journal.folder.absolute() / "checkpoints" / f"retrain-{self.trial}"


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class TrainedModel:
    """Weights, and all that is said of them."""

    config: TrialConfig
    weights: Mapping[str, Tensor]
    figures: Mapping[str, Any]
    """For the card; `val_accuracy`, `test_accuracy` and the like where they were measured."""
    rows: Sequence[Mapping[str, Any]]
    """What each pass over the data came to."""
    environment: Mapping[str, Any]
    weights_sha256: str


def train_seed(bench: RetrainContext, seed: int, last: int | None, say: Callable[[EpochResult], None]) -> TrainResult:
    """Train the trial on a seed, to its epoch `last` or to its end; or go on where a killed process was."""
    return train_resumable(
        bench.config.replace(seed=seed),
        bench.corpus,
        threads=bench.threads,
        device=bench.device,
        checkpoints=bench.checkpoints / str(seed),
        last=last,
        say=say,
    )


def evaluate_model(bench: RetrainContext, result: TrainResult) -> TrainedModel:
    """A training's best epoch on validation and test; the test split is read, and the reading counted."""
    test = evaluate_on_test(result, bench.corpus, bench.threads, bench.device)
    val = evaluate(
        result.config, result.weights, bench.corpus, VAL, threads=bench.threads, device=bench.device
    ).loss_standard_error
    model = TrainedModel(
        config=result.config,
        weights=result.weights,
        figures={**metrics_of(result, bench.corpus, test), "val_loss_standard_error": val},
        rows=[dataclasses.asdict(epoch) for epoch in result.epochs],
        environment=result.environment,
        weights_sha256=result.weights_sha256,
    )
    _count(bench, model, "train")
    return model


def refit_on_both(bench: RetrainContext, verified: TrainResult, say: Callable[[int, float], None]) -> TrainedModel:
    """The verified training's number of steps on train and validation together, measured on test alone."""
    corpus, config = bench.corpus, bench.config
    again = refit(config, corpus, verified.epochs, report=say, threads=bench.threads, device=bench.device)
    test = None
    if len(corpus.indices(TEST)):
        test = evaluate(config, again.weights, corpus, TEST, threads=bench.threads, device=bench.device)
    model = TrainedModel(
        config=config,
        weights=again.weights,
        figures={
            "steps": again.steps,
            "passes": again.steps / -(-again.sentences // config.batch_size),
            "train_and_val_sentences": again.sentences,
            "verified_best_epoch": verified.best_epoch,
            "verified_val_accuracy": verified.best_val_accuracy,
            "verified_val_sentences": len(corpus.indices(VAL)),
            **held_out_metrics(test),
        },
        rows=[{"pass": number, "train_loss": loss} for number, loss in enumerate(again.losses, 1)],
        environment=again.environment,
        weights_sha256=again.weights_sha256,
    )
    _count(bench, model, "train+val")
    return model


def _count(bench: RetrainContext, model: TrainedModel, on: str) -> None:
    figures = model.figures
    if "test_accuracy" in figures:
        bench.journal.log_test_evaluation(
            verb="retrain",
            trial=bench.trial,
            seed=model.config.seed,
            on=on,
            split=bench.split,
            val_accuracy=figures.get("val_accuracy"),
            test_accuracy=figures["test_accuracy"],
            test_sentences=figures["test_sentences"],
        )


def median_model(models: Sequence[TrainedModel]) -> TrainedModel:
    """The one in the middle by validation accuracy, ties by lower loss; of two in the middle the worse."""
    ordered = sorted(models, key=lambda m: (m.figures["val_accuracy"], -m.figures["val_loss"]))
    return ordered[(len(ordered) - 1) // 2]


def seed_summary(models: Sequence[TrainedModel]) -> dict[str, Any]:
    """All figures of models that differ in their seed alone, and mean and standard deviation of them."""
    names = [name for name in ("val_accuracy", "test_accuracy") if name in models[0].figures]
    rows: list[dict[str, Any]] = [
        {"seed": each.config.seed, **{name: each.figures[name] for name in ("best_epoch", *names)}} for each in models
    ]
    spread = {}
    for name in names:
        values = [row[name] for row in rows]
        spread[f"{name}_over_seeds"] = {"mean": statistics.fmean(values), "sd": statistics.stdev(values)}
    return {"seeds": rows, **spread}


def save_trained_model(out: Path, model: TrainedModel, corpus: Corpus, about: Mapping[str, Any], command: str) -> None:
    """Write the model folder; `about` joins the figures in its card and its metrics."""
    metrics = {
        **model.figures,
        **about,
        "epochs": model.rows,
        "environment": dict(model.environment),
        "weights_sha256": model.weights_sha256,
        "data_fingerprint": corpus.fingerprint,
    }
    save_model(
        out,
        config=model.config,
        weights=model.weights,
        words=corpus.words,
        classes=corpus.classes,
        embedding_dim=corpus.embedding_dim,
        tokenizer=corpus.source["tokenizer"],
        metrics=metrics,
        card=render_model_card(source=corpus.source, metrics=metrics, config=model.config, command=command),
    )
