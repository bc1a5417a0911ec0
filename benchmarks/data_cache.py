"""How much faster is the data cache than preparing the data in every run?

    python -m benchmarks.data_cache            2 million lines of 300 numbers in a zip: 8 GB in TMPDIR, half an hour
    python -m benchmarks.data_cache --quick    60,000 lines, under a minute: shows that it works, not what holds
    python -m benchmarks.data_cache --vectors FOLDER     keep the generated file in FOLDER and use it again
    python -m benchmarks.data_cache --dataset mr:PATH    MR instead of the snippets

The baseline is the tutorial notebook, which tokenises all sentences and reads all vectors in every run. The cache is
measured cold (empty) and warm (filled). Each step runs in its own process, and its imports are not timed. Peak memory
is the VmHWM of that process. The times are medians. The last lines check the claims.
"""

import argparse
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.data_cache_steps import generate
from benchmarks.results import new_parser, run_step, verdict

COLD_AT_LEAST, WARM_AT_LEAST = 5, 100
WIDTH, REPEATS = 300, 3


def main() -> None:
    arguments = parse()
    lines = 60_000 if arguments.quick else 2_000_000
    with tempfile.TemporaryDirectory(prefix="sentune-benchmark-") as name:
        work = Path(name)
        base = work / "base"
        words = run("words", arguments, cache=base)["words"]
        dataset = Path(arguments.dataset.partition(":")[0]).name
        archive = (arguments.vectors or work) / f"{dataset}-{lines}x{WIDTH}.vec.zip"
        if not archive.exists():
            say(f"generating {lines:,} lines of {WIDTH} numbers")
            generate(archive, words, lines, WIDTH)
        say(f"{archive.stat().st_size:,} bytes packed, {zipfile.ZipFile(archive).infolist()[0].file_size:,} unpacked\n")
        report(measure(arguments, archive, work, base), archive, quick=arguments.quick)


def measure(arguments: argparse.Namespace, archive: Path, work: Path, base: Path) -> dict[str, Any]:
    """Measure every step. A first read puts the archive into the page cache for all of them."""
    results = {"floor": run("floor", arguments, archive=archive)}
    notebook, cold = [], []
    for attempt in range(1 if arguments.quick else REPEATS):
        notebook.append(run("notebook", arguments, archive=archive, cache=base, unpacked=work / "unpacked"))
        shutil.rmtree(work / "unpacked")
        cache = work / f"cache{attempt}"
        if (base / "sources").exists():  # already downloaded: the network is not measured
            shutil.copytree(base / "sources", cache / "sources")
        cold.append(run("cold", arguments, archive=archive, cache=cache))
    warm = [run("warm", arguments, archive=archive, cache=work / "cache0") for _ in range(5)]
    results["notebook"] = middle(notebook, lambda found: found["unzip"] + found["tokenise"] + found["scan"])
    results["cold"] = middle(cold, lambda found: found["seconds"])
    results["warm"] = middle(warm, lambda found: found["seconds"])
    return results


def middle(found: list[dict[str, Any]], seconds: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
    """Return the run with the median time."""
    return sorted(found, key=seconds)[len(found) // 2]


def report(found: dict[str, Any], archive: Path, *, quick: bool) -> None:
    notebook, cold, warm = found["notebook"], found["cold"], found["warm"]
    every_run = notebook["tokenise"] + notebook["scan"]
    whole = notebook["unzip"] + every_run
    unpacked = zipfile.ZipFile(archive).infolist()[0].file_size
    floor = found["floor"]["seconds"]
    say("step                       seconds   peak MiB   imports, MiB")
    say(f"notebook: unzip to disk   {notebook['unzip']:8.2f}")
    say(f"notebook: tokenise, pad   {notebook['tokenise']:8.2f}")
    say(f"notebook: scan vectors    {notebook['scan']:8.2f}   {memory(notebook)}   for all three")
    tokenising = f"tokenising {cold['tokenise']:.2f} s"
    say(f"sentune: cold             {cold['seconds']:8.2f}   {memory(cold)}   {tokenising}")
    say(f"sentune: warm (median)    {warm['seconds']:8.3f}   {memory(warm)}")
    say(f"floor: decompression only {floor:8.2f}              {unpacked / floor / 1e6:,.0f} MB/s")
    say(f"each additional worker needs {warm['private_mib']:.1f} MiB to open and read the whole corpus;")
    say(f"each additional notebook would need {notebook['held_mib']:.1f} MiB\n")
    say(f"the reader is {(cold['seconds'] - cold['tokenise']) / floor:.2f} times its floor")
    say(f"against the notebook's scan and tokenising alone, cold is {every_run / cold['seconds']:.1f} times faster")
    claims = (("cold", whole / cold["seconds"], COLD_AT_LEAST), ("warm", every_run / warm["seconds"], WARM_AT_LEAST))
    for name, ratio, least in claims:
        end = verdict(ratio >= least, conclusive=not quick)
        say(f"{name} start: {ratio:,.1f} times faster than the notebook, at least {least} claimed: {end}")
    if not quick and any(ratio < least for _, ratio, least in claims):
        sys.exit(1)


def memory(step: dict[str, Any]) -> str:
    return f"{step['peak_mib']:8.0f}   {step['imports_mib']:13.0f}"


def run(step: str, arguments: argparse.Namespace, **paths: Path) -> dict[str, Any]:
    """Run a step in a fresh process."""
    options = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    return run_step("benchmarks.data_cache_steps", step, "--dataset", arguments.dataset, *options)


def say(line: str) -> None:
    print(line, flush=True)


def parse() -> argparse.Namespace:
    parser = new_parser(__doc__, "Generate 60,000 lines.")
    parser.add_argument("--dataset", default="snippets", help="Dataset, as in load_corpus (default: snippets).")
    parser.add_argument("--vectors", type=Path, help="Folder in which the generated file is kept.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
