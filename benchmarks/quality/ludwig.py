"""How do time and accuracy compare with Ludwig's hyperopt?

    python3.13 -m venv peer
    peer/bin/pip install 'ludwig[hyperopt,distributed]>=0.17' 'torch>=2.11,<2.12' 'optuna>=4.6'
    python -m benchmarks.quality.ludwig --python peer/bin/python            8 trials x 4 epochs
    python -m benchmarks.quality.ludwig --python peer/bin/python --pooling max
    python -m benchmarks.quality.ludwig --python peer/bin/python --quick    tiny: shows that it works, not what holds

Ludwig 0.17 needs Python 3.12 or newer and other versions of libraries, so it has its own environment. Both search the
rated snippets with 50-wide GloVe vectors, split and tokenised by sentune, with the same budget. The model is an LSTM in
one direction, followed by its last state or by the maximum of its states over time. Both use Adadelta, batches of 50,
the ranges of the `notebook` space, TPE, and two trials at a time on one core each.

Four things differ. sentune stops trials early, begins with the baseline setting, applies dropout twice before the
output, and computes in bf16 where the processor supports it. Ludwig's encoder has its own dropout and output layers.
The time of sentune is that of the whole command; the time of Ludwig is that of the call, without its import and the
start of Ray. Ludwig's configuration is printed in full.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.baselines.sentune_studies import machine, run_study
from benchmarks.inputs.corpora import part_of_snippets
from core import load_corpus
from core.data.corpus import TEST, TRAIN, VAL, Corpus

CODES = {TRAIN: 0, VAL: 1, TEST: 2}
"""Ludwig's codes of the splits."""


def main() -> None:
    arguments = parse()
    python = arguments.python.absolute()  # Ludwig runs in another folder
    ludwig = version_in(python)
    trials, epochs, hidden = (2, 1, (16, 24)) if arguments.quick else (8, 4, (64, 256))
    with tempfile.TemporaryDirectory(prefix="sentune-peer-") as name:
        folder = Path(name)
        dataset = "snippets"
        if arguments.quick:
            part_of_snippets(folder / "part.csv", 400)
            dataset = str(folder / "part.csv")
        corpus = load_corpus(dataset, vectors="glove-50d")
        write_table(folder / "table.csv", corpus)
        write_vectors(folder / "vectors.txt", corpus)
        config = configuration(
            str(folder / "vectors.txt"), trials=trials, epochs=epochs, hidden=hidden, pooling=arguments.pooling
        )
        print(f"{machine()}; Ludwig {ludwig}; {trials} trials x {epochs} epochs, {len(corpus.labels):,} sentences\n")
        print("| method | time of the search, s | best validation | test, retrained |")
        print("|---|---|---|---|")
        words = [
            "--trials",
            str(trials),
            "--epochs",
            str(epochs),
            "--set",
            f"hidden_dim=int({hidden[0]},{hidden[1]},log)",
            "--set",
            f"pooling={arguments.pooling}",
        ]
        ours = run_study(folder, "study", [dataset, "--space", "notebook", "--workers", "2", *words])
        print(row("`sentune run`", ours.seconds, ours.val_accuracy, ours.test_accuracy), flush=True)
        theirs = search(python, folder, config)
    print(row("Ludwig's hyperopt", theirs["seconds"], theirs["scores"][0], theirs["test_accuracy"]))
    verdict = " (run too small to decide)" if arguments.quick else ""
    print(f"\nsentune is {theirs['seconds'] / ours.seconds:.2f} times as fast{verdict}")
    print(f"Ludwig's trials with a score: {len(theirs['scores'])} of {trials}; best: {theirs['parameters']}")
    print(f"\nLudwig's configuration:\n\n```json\n{json.dumps(config, indent=2)}\n```")


def version_in(python: Path) -> str:
    """Return Ludwig's version in that environment, or exit with one line if it has none."""
    code = "from importlib.metadata import version; print(version('ludwig'))"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"{python} has no Ludwig; install it as python -m benchmarks.quality.ludwig --help shows")


def write_table(path: Path, corpus: Corpus) -> None:
    """Write a CSV with `text` (tokens separated by spaces), `label` (class name) and `split` (Ludwig's code)."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("text", "label", "split"))
        for i, (label, split) in enumerate(zip(corpus.labels.tolist(), corpus.split.tolist(), strict=True)):
            tokens = corpus.tokens[corpus.offsets[i] : corpus.offsets[i + 1]]
            rows.writerow((" ".join(corpus.words[token] for token in tokens), corpus.classes[label], CODES[split]))


def write_vectors(path: Path, corpus: Corpus) -> None:
    """Write the vocabulary's vectors in GloVe's text format."""
    assert corpus.vectors is not None  # glove-50d
    with path.open("w", encoding="utf-8") as file:
        for word, vector in zip(corpus.words, corpus.vectors.tolist(), strict=True):
            file.write(" ".join([word, *(f"{value:.6f}" for value in vector)]) + "\n")


def configuration(
    vectors: str, *, trials: int, epochs: int, hidden: tuple[int, int], pooling: str = "last"
) -> dict[str, Any]:
    """Return Ludwig's configuration with its hyperopt section."""
    encoder = {
        "type": "rnn",
        "cell_type": "lstm",
        "bidirectional": False,
        "reduce_output": pooling,
        "embedding_size": 50,
        "pretrained_embeddings": vectors,
    }
    text = {"name": "text", "type": "text", "preprocessing": {"tokenizer": "space"}, "encoder": encoder}
    return {
        "input_features": [text],
        "output_features": [{"name": "label", "type": "category"}],
        "preprocessing": {"split": {"type": "fixed", "column": "split"}},
        "trainer": {
            "epochs": epochs,
            "batch_size": 50,
            "optimizer": {"type": "adadelta"},
            "early_stop": -1,
            "validation_field": "label",
            "validation_metric": "accuracy",
        },
        "backend": {"type": "local"},
        "hyperopt": {
            "output_feature": "label",
            "metric": "accuracy",
            "goal": "maximize",
            "split": "validation",
            "search_alg": {"type": "optuna"},
            "executor": {
                "type": "ray",
                "num_samples": trials,
                "max_concurrent_trials": 2,
                "cpu_resources_per_trial": 1,
            },
            "parameters": parameters(*hidden),
        },
    }


def parameters(least: int, most: int) -> dict[str, dict[str, Any]]:
    """Return the ranges of the `notebook` space under Ludwig's names, with these hidden sizes."""
    return {
        "text.encoder.num_layers": {"space": "choice", "categories": [1, 2, 3]},
        "text.encoder.state_size": {"space": "lograndint", "lower": least, "upper": most + 1},
        "text.encoder.dropout": {"space": "uniform", "lower": 0.0, "upper": 0.5},
        "text.encoder.fc_dropout": {"space": "uniform", "lower": 0.1, "upper": 0.6},
        "text.encoder.embeddings_trainable": {"space": "choice", "categories": [True, False]},
        "trainer.learning_rate": {"space": "loguniform", "lower": 0.1, "upper": 1.0},
    }


def search(python: Path, folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Run ludwig_search.py on the table in the folder and return its result."""
    (folder / "ludwig.json").write_text(json.dumps(config))
    script = Path(__file__).parents[1] / "baselines" / "ludwig_search.py"
    command = [python, script, folder / "ludwig.json", folder / "table.csv", folder / "ludwig"]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, cwd=folder).stdout
    return dict(json.loads(said.splitlines()[-1]))


def row(way: str, seconds: float, val: float, test: float) -> str:
    return f"| {way} | {seconds:,.0f} | {val:.2%} | {test:.2%} |"


def parse(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="Python of the environment that has Ludwig.")
    parser.add_argument(
        "--pooling", choices=("last", "max"), default="last", help="Pooling over the states, in both (default: last)."
    )
    parser.add_argument("--quick", action="store_true", help="Run 2 trials of 1 epoch on 400 sentences.")
    return parser.parse_args(given)


if __name__ == "__main__":
    main()
