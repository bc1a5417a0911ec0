"""How accurate is the model that the default options give?

    SENTUNE_DATA=DIR python -m benchmarks.quality.default_search LABEL    six sets, three seeds: an hour on two cores
    python -m benchmarks.quality.default_search --table                   the table of all results so far
    python -m benchmarks.quality.default_search nothing --quick           one small set, one seed, no record

For each dataset and seed, `sentune run FILE --seed SEED` and `sentune retrain` run with default options. The seed also
determines the split 80/10/10. LABEL names the version of sentune in the table. To compare two versions, run this script
in a checkout of each and join the lines of their RESULTS, without `seconds` where the machine was another one or busy.
The same command continues with what is missing.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.baselines.sentune_studies import machine, run_study
from benchmarks.inputs.corpora import write_csv
from benchmarks.inputs.labelled_sets import read_set
from benchmarks.results import REFERENCE, Result, mean_and_error, measure_missing, read_results, table_head, table_row

RESULTS = REFERENCE / "default_search.jsonl"
NAMES = ("trec", "mpqa", "snippets", "amazon", "tweets", "nyt")
SEEDS = (1, 2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("label", nargs="?", help="Name of this version of sentune.")
    parser.add_argument("--sets", nargs="+", choices=NAMES, default=NAMES, help="Datasets (default: all six).")
    parser.add_argument("--table", action="store_true", help="Only print the table.")
    parser.add_argument("--quick", action="store_true", help="One set, one seed, 2 trials of 2 epochs, no record.")
    arguments = parser.parse_args()
    if arguments.quick:
        print(json.dumps(run_once("tweets", 1, ("--trials", "2", "--epochs", "2"))))
        return
    if not arguments.table:
        label = arguments.label or parser.error("LABEL is missing")
        jobs = [{"label": label, "set": name, "seed": seed} for name in arguments.sets for seed in SEEDS]
        measure_missing(RESULTS, jobs, measure)
    print("\n".join(table(read_results(RESULTS))))


def measure(job: Mapping[str, Any]) -> Result:
    """Run one search; return its line of RESULTS."""
    return {**job, **run_once(job["set"], job["seed"]), "machine": machine()}


def run_once(name: str, seed: int, more: Sequence[str] = ()) -> dict[str, float]:
    """Search and retrain once, with default options; return accuracies and the seconds of the search."""
    data = read_set(name)
    with tempfile.TemporaryDirectory(prefix="sentune-default-") as folder:
        file = Path(folder, f"{name}.csv")
        labels = (data.classes[label] for label in data.labels)
        write_csv(file, ("text", "label"), zip(data.texts, labels, strict=True))
        study = run_study(Path(folder), name, [str(file), "--seed", str(seed), *more])
    return {"test": study.test_accuracy, "validation": study.val_accuracy, "seconds": round(study.seconds, 1)}


def table(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the rows of a Markdown table: mean test accuracy and seconds of each version on each dataset.

    Only seeds that all versions have are compared: the seed also decides the split, which may matter more.
    """
    labels = list(dict.fromkeys(result["label"] for result in results))
    yield from table_head(("set", "seeds", *(f"{label}: test, seconds" for label in labels), "last - first"))
    gains = []
    for name in dict.fromkeys(result["set"] for result in results):
        found = [{r["seed"]: r for r in results if (r["label"], r["set"]) == (label, name)} for label in labels]
        seeds = sorted(set.intersection(*map(set, found)))
        if not seeds:
            continue
        tests = [100 * fmean(rows[seed]["test"] for seed in seeds) for rows in found]
        times = [_seconds([rows[seed] for seed in seeds]) for rows in found]
        cells = (f"{test:.2f}, {seconds}" for test, seconds in zip(tests, times, strict=True))
        gains += [100 * (found[-1][seed]["test"] - found[0][seed]["test"]) for seed in seeds]
        yield table_row((name, str(len(seeds)), *cells, f"{tests[-1] - tests[0]:+.2f}"))
    if len(gains) > 1:
        yield f"| mean | | {'| ' * len(labels)}{mean_and_error(gains)} |"


def _seconds(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the mean of the seconds that are stored."""
    times = [result["seconds"] for result in results if "seconds" in result]
    return f"{fmean(times):.0f}" if times else "-"


if __name__ == "__main__":
    main()
