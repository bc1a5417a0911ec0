"""Is a study the same with any number of workers, and after kills?

    python -m benchmarks.search.determinism            16 trials of 4 epochs on 2,000 snippets, some three minutes
    python -m benchmarks.search.determinism --quick    6 trials of 2 epochs on 300, about a minute

The real command runs the same study with 1, 2 and 4 workers, and once with three kills (SIGKILL), each time in a fresh
folder. The comparison covers number, state, parameters, configuration, the results of every epoch, validation
predictions and the hash of the weights, but not times and workers. The moments of the kills are random. The exit code
is 1 if two studies differ.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.baselines.sentune_studies import said_by
from benchmarks.inputs.corpora import part_of_snippets
from tuning.journal.file import JOURNAL
from tuning.journal.reader import read_journal


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="sentune-same-") as name:
        folder = Path(name)
        part_of_snippets(folder / "part.csv", arguments.sentences)
        studies = {}
        for workers in (1, 2, 4):
            studies[f"{workers} workers"] = whole(folder, f"workers-{workers}", arguments, workers)
        kills = random.Random(arguments.kill_seed)
        studies["killed three times"] = killed(folder, "killed", arguments, kills)
        first, *others = studies.items()
        print(f"{first[0]}: {len(first[1])} trials, {sum(len(trial[3]) for trial in first[1])} epochs")
        equal = [report(name, study == first[1]) for name, study in others]
    sys.exit(0 if all(equal) else 1)


def report(name: str, equal: bool) -> bool:
    print(f"{name}: {'the same' if equal else 'DIFFERS'}", flush=True)
    return equal


def words(folder: Path, name: str, arguments: argparse.Namespace, workers: int) -> list[str]:
    """Return the command of a study, without the program's name."""
    sizes = {"trials": arguments.trials, "epochs": arguments.epochs, "parallelism": 2}
    options = {**sizes, "workers": workers, "results": folder, "name": name}
    return ["run", str(folder / "part.csv"), *(w for key, value in options.items() for w in (f"--{key}", str(value)))]


def whole(folder: Path, name: str, arguments: argparse.Namespace, workers: int) -> list[Any]:
    said_by(*words(folder, name, arguments, workers))
    return content(folder / name)


def killed(folder: Path, name: str, arguments: argparse.Namespace, kills: random.Random) -> list[Any]:
    """Kill the study three times between the first and the last trial, then complete it."""
    records = len((folder / "workers-2" / JOURNAL).read_bytes().splitlines())
    for moment in sorted(kills.sample(range(4, records - 2), 3)):
        command = [sys.executable, "-m", "tuning", *words(folder, name, arguments, 2)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        journal = folder / name / JOURNAL
        while process.poll() is None and (not journal.is_file() or journal.read_bytes().count(b"\n") < moment):
            time.sleep(0.01)
        time.sleep(kills.random())
        process.kill()
        process.wait()
        written = journal.read_bytes().count(b"\n")
        print(f"killed with {written} of {records} records written", flush=True)
    return whole(folder, name, arguments, 2)


def content(study: Path) -> list[Any]:
    """Return everything about the trials except their times and workers."""
    found = []
    for trial in read_journal(study / JOURNAL)[1]:
        attrs = trial.user_attrs
        epochs = [
            {name: value for name, value in attrs[key].items() if name != "seconds"}
            for key in sorted(attrs)
            if key.startswith("epoch:")
        ]
        changing = ("environment", "worker", "since", "until")
        result = {k: v for k, v in attrs.get("result", {}).items() if k not in changing}
        found.append((trial.number, trial.state.name, dict(trial.params), epochs, attrs["config"], result))
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Run 6 trials of 2 epochs on 300 sentences.")
    parser.add_argument(
        "--kill-seed", type=int, default=None, help="Seed of the moments of the kills (default: random)."
    )
    arguments = parser.parse_args()
    sizes = (6, 2, 300) if arguments.quick else (16, 4, 2000)
    arguments.trials, arguments.epochs, arguments.sentences = sizes
    return arguments


if __name__ == "__main__":
    main()
