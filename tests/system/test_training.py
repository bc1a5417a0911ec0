"""Training is bit-identical across processes, and after a real kill in the middle."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core import EpochResult, TrialConfig, train
from tests.support.corpora import tiny_corpus
from tests.support.patience import PATIENCE_SECONDS

TRAIN = """
import json, sys
from tests.system.test_training import trained
print(json.dumps(trained(*sys.argv[1:])))
"""
ROOT = Path(__file__).parents[2]


def trained(folder: str | None = None, killed_after: str = "") -> Any:
    """Train, perhaps with checkpoints in a folder; return figures and weights digest, and the seconds of each epoch."""

    def report(epoch: EpochResult) -> None:
        if str(epoch.epoch) == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)

    config = TrialConfig(hidden_dim=24, n_layers=2, embedding_dropout=0.1, lstm_dropout=0.2, epochs=5, batch_size=8)
    place = None if folder is None else Path(folder)
    result = train(config, tiny_corpus(pretrained=False), report=report, checkpoint_dir=place)
    figures = [[e.epoch, e.train_loss, e.val_loss, e.val_accuracy] for e in result.epochs]
    return [figures, result.weights_sha256], [epoch.seconds for epoch in result.epochs]


def start(hash_seed: int, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": str(1 + hash_seed)}
    command = [sys.executable, "-c", TRAIN, *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def whole() -> Any:
    """The result of an undisturbed training."""
    return trained()[0]


def test_a_killed_training_resumes_and_is_bit_identical(whole: Any, tmp_path: Path) -> None:
    """Whatever the hash seeds of its processes and the threads they were started with."""
    folder = tmp_path / "checkpoints"
    process = start(0, str(folder), "3")
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == -signal.SIGKILL
    kept = json.loads((folder / "epoch-00003" / "state.json").read_text())["state"]["epochs"]
    resumed = start(1, str(folder))
    output, _ = resumed.communicate(timeout=PATIENCE_SECONDS)
    assert resumed.returncode == 0
    found, seconds = json.loads(output)
    assert found == whole
    assert seconds[:3] == [epoch["seconds"] for epoch in kept]  # it did not begin again
