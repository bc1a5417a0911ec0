"""Read the sentences of a task, and print the answer of a peer.

It runs in the environment of each peer, so it needs only Python's own library.
"""

import csv
import json
import statistics
import sys
import time
from pathlib import Path

FOLDER, SECONDS, OPTIONS = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
"""Folder of the task, the time limit of the search, and options of the script."""
SINGLE_PREDICTIONS = 50


def read_rows(name):
    """Return the rows of a file of the task as dictionaries."""
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def texts_and_labels(split):
    """Return the texts of a split, and their labels (None for test)."""
    rows = read_rows(f"{split}.csv")
    return [row["text"] for row in rows], [row.get("label") for row in rows]


def answer(predict, model, *, trials, version, chosen, texts=None):
    """Label the test sentences, all at once and some one by one, and print the answer.

    Args:
        predict: Called with a list of texts; returns their labels.
        model: File or folder of the saved model.
        trials: Number of configurations that were tried, or None if the program does not say.
        version: Name and version of the program.
        chosen: What it chose, as text.
        texts: Test sentences in the form that `predict` takes; None for those of test.csv.
    """
    texts = texts_and_labels("test")[0] if texts is None else texts
    predictions = [str(label) for label in predict(texts)]
    times = []
    for text in texts[:SINGLE_PREDICTIONS]:
        began = time.perf_counter()
        predict([text])
        times.append(time.perf_counter() - began)
    model = Path(model)
    files = [model] if model.is_file() else [each for each in model.rglob("*") if each.is_file()]
    found = {
        "predictions": predictions,
        "megabytes": round(sum(each.stat().st_size for each in files) / 1e6, 2),
        "milliseconds": round(1000 * statistics.median(times), 3),
        "trials": trials,
        "version": version,
        "chosen": chosen,
    }
    print(json.dumps(found))


def no_answer(version):
    """Print that no trial ended within the limit."""
    nothing = dict.fromkeys(("predictions", "megabytes", "milliseconds", "chosen"))
    print(json.dumps({**nothing, "trials": 0, "version": version}))
