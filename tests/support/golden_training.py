"""Real trainings of the golden files, whose figures depend on torch and the processor."""

import dataclasses
from pathlib import Path

import torch

from core.config import TrialConfig
from core.data.corpus import Corpus
from core.nn.environment import runtime_environment
from core.training.checkpoint import load_latest
from core.training.loop import train
from tests.support.corpora import tiny_corpus
from tests.support.golden_files import Files, json_of, uncompressed
from tuning.confirm.execution import train_run
from tuning.resources.machine import TrialResources

TRAININGS: dict[str, tuple[TrialConfig, Corpus]] = {
    "frozen": (
        TrialConfig(
            hidden_dim=6, bidirectional=False, pooling="mean+max", embedding_dropout=0.1, fc_dropout=0.3,
            freeze_embedding=True, learning_rate=0.03, lr_schedule="cosine", label_smoothing=0.1, batch_size=16,
            epochs=3, seed=7,
        ),
        tiny_corpus(dim=4),
    ),
    "trained": (
        TrialConfig(
            n_layers=2, hidden_dim=5, pooling="attention", lstm_dropout=0.2, fc_dropout=0.3, optimizer="adadelta",
            learning_rate=0.5, embedding_lr_scale=0.5, embedding_max_norm=5.0, ema_decay=0.9, batch_size=16, epochs=3,
            seed=7,
        ),
        tiny_corpus(pretrained=False),
    ),
}  # fmt: skip


MACHINE = ("torch", "cpu", "cpu_capability")
"""What a bit-identical training depends on, besides the code."""


def training(folder: Path) -> Files:
    """Real trainings on one thread, what their checkpoints hold, and a fresh run as a worker of `confirm` does it."""
    runs = {}
    for name, (config, corpus) in TRAININGS.items():
        result = train(config, corpus, checkpoint_dir=folder / name)
        # Seconds are of the clock.
        epochs = [{k: v for k, v in dataclasses.asdict(epoch).items() if k != "seconds"} for epoch in result.epochs]
        found = load_latest(folder / name, {**config.to_dict(), "corpus": corpus.fingerprint,
                                       "embedding_dim": corpus.embedding_dim})  # fmt: skip
        assert found is not None
        runs[name] = {
            "epochs": epochs,
            "best_epoch": result.best_epoch,
            "n_parameters": result.n_parameters,
            "stopped": result.stopped,
            "weights_sha256": result.weights_sha256,
            "val_predictions": "".join(map(str, result.val_predictions)),
            "weights": {key: described(value) for key, value in result.weights.items()},
            "checkpoint": {key: described(value) for key, value in sorted(found.tensors.items())},
            "checkpoint_state": sorted(found.state),
        }
    config, corpus = TRAININGS["frozen"]
    fresh_run = train_run(config.to_dict(), corpus, TrialResources(), str(folder / "fresh"))
    fresh_run["seconds"] = 0.0  # of the clock
    fresh_run["correct"]["data"] = uncompressed(fresh_run["correct"]["data"])
    del fresh_run["packed_log_odds"]  # the compression depends on the version of zlib
    environment = runtime_environment(config.precision, 1, "cpu")
    machine = {name: environment[name] for name in MACHINE}
    return {"training.json": json_of({"machine": machine, "runs": runs, "fresh_run": fresh_run})}


def described(value: torch.Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
