"""What a trial costs in memory, on the real default data, in a fresh process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MEASURE = """
import json, sys
from pathlib import Path

def status(name):  # not getrusage: its peak begins with that of the process that started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))

import torch
after_import = status("VmRSS")
from core import TrialConfig, load_corpus, train
corpus = load_corpus("snippets")
if sys.argv[1] == "one":
    result = train(TrialConfig(epochs=2), corpus, checkpoint_dir=Path(sys.argv[2]))
    parameter_bytes = 4 * sum(weights.numel() for weights in result.weights.values())
    print(json.dumps({"after_import": after_import, "peak": status("VmHWM"), "parameter_bytes": parameter_bytes}))
else:
    after = []
    for seed in range(20):
        config = TrialConfig(epochs=1, hidden_dim=16 + seed % 3, bidirectional=False, batch_size=256, seed=seed)
        train(config, corpus)
        after.append(status("VmRSS"))
    print(json.dumps({"after": after}))
"""


def measured(what: str, folder: Path) -> Any:
    command = [sys.executable, "-c", MEASURE, what, str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_a_trial_needs_little_more_than_its_weights(tmp_path: Path) -> None:
    """At most torch itself, 200 MB and five times the weights; with checkpoints, data from a warm cache."""
    from core import load_corpus

    load_corpus("snippets")  # built here if it is not there: what that takes is not the trial's
    found = measured("one", tmp_path)
    assert found["peak"] <= found["after_import"] + 200e6 + 5 * found["parameter_bytes"]


def test_twenty_trials_leave_nothing_behind(tmp_path: Path) -> None:
    after = measured("twenty", tmp_path)["after"]
    assert max(after[10:]) <= max(after[:5]) + 20e6


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="only Linux tells proportional set sizes")
def test_two_workers_hold_one_copy_of_the_corpus_in_all() -> None:
    """Pages of Ray's object store, over the driver, Ray's processes and both workers."""
    from benchmarks.memory import bytes_of, training_workers
    from core import load_corpus

    corpus = load_corpus("snippets")
    workers, shared = training_workers(trials=2, epochs=1)
    assert len(workers) >= 2
    assert 0.5 * bytes_of(corpus) <= shared <= 1.5 * bytes_of(corpus)
