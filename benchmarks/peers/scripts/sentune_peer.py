"""sentune on the task of benchmarks.peers.compare: `run --time-budget`, then `retrain` or `ensemble`."""

import subprocess
import sys
from importlib.metadata import version

from peer_task import FOLDER, OPTIONS, SECONDS, answer

from core import load_model
from tuning.journal.records import read_study

VERB = OPTIONS[0] if OPTIONS else "retrain"


def sentune(*words):
    subprocess.run([sys.executable, "-m", "tuning", *words], check=True, stdout=sys.stderr)


def main():
    sentune(
        "run", "all.csv", "--split-column", "split", "--trials", "500", "--time-budget", f"{SECONDS:.0f}s",
        "--results", "studies", "--name", "task",
    )  # fmt: skip
    sentune(VERB, "studies/task", "--out", "model")
    model = load_model(FOLDER / "model")
    answer(
        lambda texts: [guess.label for guess in model.predict(texts)],
        FOLDER / "model",
        trials=len(read_study(FOLDER / "studies/task")[1]),
        version=f"sentune {version('sentune')}",
        chosen=VERB,
    )


if __name__ == "__main__":
    main()
