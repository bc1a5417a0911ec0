"""Does `sentune data --suspects` find wrong labels?

    python -m benchmarks.quality.planted_labels            5% of the snippets' labels changed: ten minutes
    python -m benchmarks.quality.planted_labels --quick    1,000 snippets: shows that it works, not what holds

A part of the rated snippets gets the other label, and a study with validation in folds runs on all of them. The script
compares the list of suspects with the changed labels. The first figure is the share of the changed labels that are
among the first suspects, as many as a tenth of all checked sentences; chance gives 10%. The second one is the share of
changed labels among the first 200 suspects; chance gives 5%. Labels that were wrong before count as errors of the list.
"""

import csv
import io
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.baselines.sentune_studies import run_sentune
from benchmarks.inputs.corpora import snippets, write_csv
from benchmarks.results import new_parser, verdict
from tuning.journal.predictions import unpack_labels
from tuning.journal.records import read_study

FLIPPED = 0.05
FIRST = 200
CLAIMED = 0.5
"""Claimed minimum share of the flipped labels among the first tenth."""


def main() -> None:
    quick = new_parser(__doc__, "Use 1,000 snippets, 2 trials and 2 folds.").parse_args().quick
    words = ["--validation", "folds:2", "--trials", "2", "--epochs", "2"] if quick else []
    words = words or ["--validation", "folds:5", "--trials", "8", "--epochs", "6"]
    with tempfile.TemporaryDirectory(prefix="sentune-labels-") as name:
        folder = Path(name)
        flipped, sentences = write_flipped(folder / "flipped.csv", 1000 if quick else None)
        run_sentune("run", str(folder / "flipped.csv"), *words, "--results", name, "--name", "study")
        suspects = run_sentune("data", "--suspects", f"{name}/study", "--format", "csv")
        texts = [row["text"] for row in csv.DictReader(io.StringIO(suspects))]
        validation = read_study(folder / "study")[0]["validation"]
        checked = len(unpack_labels(validation["labels"], "labels"))
    present = round(len(flipped) * checked / sentences)  # the others are in the test split
    tenth = checked // 10
    recall = sum(text in flipped for text in texts[:tenth]) / present
    precision = sum(text in flipped for text in texts[:FIRST]) / min(FIRST, len(texts))
    print(f"{checked:,} checked sentences, about {present} with a flipped label; {len(texts):,} listed")
    print(f"flipped labels among the first {tenth:,}: {recall:.0%} of them (chance: 10%)")
    print(f"flipped labels among the first {FIRST}: {precision:.0%} (chance: {FLIPPED:.0%})")
    end = verdict(recall >= CLAIMED, conclusive=not quick)
    print(f"at least {CLAIMED:.0%} among the first tenth claimed: {end}")


def write_flipped(path: Path, sentences: int | None) -> tuple[set[str], int]:
    """Write the snippets as a CSV in which a part has the other label; return its texts, and the number of all."""
    data = snippets()
    step = len(data.texts) // sentences if sentences else 1
    labels, texts = data.labels[::step][:sentences], data.texts[::step][:sentences]
    chosen = np.random.default_rng(0).choice(len(texts), round(FLIPPED * len(texts)), replace=False)
    changed = labels.copy()
    changed[chosen] = 1 - changed[chosen]
    write_csv(path, ("text", "label"), zip(texts, changed.tolist(), strict=True))
    return {texts[place] for place in chosen.tolist()}, len(texts)


if __name__ == "__main__":
    main()
