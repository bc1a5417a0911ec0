"""Does `predict --file` need constant memory, and constant time per line?

    python -m benchmarks.predict_stream              10,000 and 1,000,000 lines of 200 bytes or more: some ten minutes
    python -m benchmarks.predict_stream --quick      2,000 and 20,000 lines: shows that it works, not what holds

The lines are rated movie snippets, joined to at least 200 bytes. The model is the untrained LSTM of
benchmarks.predict_start. Times are the processor time of the whole command, less that of a command with one line. Other
work on the machine therefore hardly affects them. The last line checks the claim.
"""

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.inputs.corpora import snippets
from benchmarks.predict_start import lstm, save
from benchmarks.results import new_parser, verdict
from core import load_corpus

MAX_BYTES = 600_000_000
MAX_RATIO = 1.1
"""Maximum ratio of the times per line; two runs of the same command differ by a few percent."""
LINE_BYTES = 200
MEASURE = """import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)"""
"""A small program that runs a command: a command's peak is at least that of the process that starts it."""


class Used(NamedTuple):
    """Processor time and peak memory of a command."""

    seconds: float
    peak_bytes: int


def main() -> None:
    quick = new_parser(__doc__, "Label 2,000 and 20,000 lines.").parse_args().quick
    corpus = load_corpus("snippets", vectors="glove-50d")
    texts = snippets().texts
    few, many = (2_000, 20_000) if quick else (10_000, 1_000_000)
    used: dict[int, Used] = {}
    with tempfile.TemporaryDirectory(prefix="sentune-predict-") as folder:
        save(Path(folder) / "model", [lstm(corpus, "model", 1.0)], corpus)
        print(f"{'lines':>9} {'MB':>6} {'s':>7} {'ms a line':>10} {'peak MB':>8}")
        for n_lines in (1, few, many):
            file = Path(folder) / "lines.txt"
            with file.open("w") as lines:
                lines.writelines(itertools.islice(long_lines(texts), n_lines))
            used[n_lines] = predict(Path(folder) / "model", file, Path(folder) / "out.txt")
            seconds, peak = used[n_lines]
            per_line = 1000 * (seconds - used[1].seconds) / n_lines
            print(f"{n_lines:9,} {file.stat().st_size / 1e6:6.1f} {seconds:7.1f} {per_line:10.3f} {peak / 1e6:8.0f}")
            with (Path(folder) / "out.txt").open() as answers:
                assert sum(1 for _ in answers) == n_lines
    ratio = (used[many].seconds - used[1].seconds) / many / ((used[few].seconds - used[1].seconds) / few)
    holds = ratio <= MAX_RATIO and used[many].peak_bytes <= MAX_BYTES
    end = verdict(holds, conclusive=not quick)
    print(
        f"a line of {many:,} takes {ratio:.2f} times as long as one of {few:,}, at most {MAX_RATIO} claimed; "
        f"peak {used[many].peak_bytes / 1e6:.0f} MB, at most {MAX_BYTES / 1e6:.0f} claimed: {end}"
    )


def long_lines(texts: Sequence[str]) -> Iterator[str]:
    """Yield lines of at least LINE_BYTES characters without end, each with other texts."""
    endless = itertools.cycle(texts)
    while True:
        line = next(endless)
        while len(line) < LINE_BYTES:
            line += " " + next(endless)
        yield line.replace("\n", " ") + "\n"


def predict(model: Path, file: Path, out: Path) -> Used:
    """Label a file from the shell."""
    command = [sys.executable, "-m", "tuning", "predict", str(model), "--file", str(file), "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], stdout=subprocess.PIPE, check=True, text=True)
    seconds, peak = done.stdout.split()
    return Used(float(seconds), int(peak) * (1 if sys.platform == "darwin" else 1024))


if __name__ == "__main__":
    main()
