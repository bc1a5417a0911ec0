"""Run one step of benchmarks.data_cache in a fresh process, which prints JSON."""

import argparse
import importlib
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHARE_FOUND = 0.91
"""Fraction of the training split's words that have a vector; the tutorial notebook found 18,522 of all 20,280."""


def generate(archive: Path, words: list[str], lines: int, width: int) -> None:
    """Write a .vec like fastText's crawl-300d-2M: four decimals, most words not in the dataset."""
    rng = np.random.default_rng(0)
    numbers = np.clip(rng.normal(0, 0.12, 20_000), -0.9999, 0.9999)
    table = np.array([f" {number:.4f}".ljust(8, "x") for number in numbers], dtype="S8")  # x is padding, removed below
    known = rng.permutation([word for word in words if " " not in word])[: int(len(words) * SHARE_FOUND)]
    place = dict(zip(rng.choice(lines, min(len(known), lines), replace=False).tolist(), known.tolist(), strict=False))
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part")
    packed = zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
    with packed, packed.open(archive.name.removesuffix(".zip"), "w", force_zip64=True) as file:
        file.write(f"{lines} {width}\n".encode())
        for start in range(0, lines, 4096):
            count = min(4096, lines - start)
            rows = table[rng.integers(0, len(table), (count, width))].view(f"S{8 * width}").ravel().tolist()
            names = (place.get(start + row, f"other{start + row}").encode() for row in range(count))
            file.write(b"".join(n + row.translate(None, b"x") + b"\n" for n, row in zip(names, rows, strict=True)))
    part.rename(archive)


def words(arguments: argparse.Namespace) -> dict[str, Any]:
    from core import load_corpus

    return {"words": load_corpus(arguments.dataset, vectors="none", cache_dir=arguments.cache).words[2:]}


def floor(arguments: argparse.Namespace) -> dict[str, Any]:
    from core.io.streams import read_blocks

    member = zipfile.ZipFile(arguments.archive).namelist()[0]
    return measure(lambda: sum(map(len, read_blocks(arguments.archive, member))))


def notebook(arguments: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.baselines import notebook_data
    from core.data.corpus import ReadOptions
    from core.data.datasets import resolve_dataset

    for module in ("nltk.tokenize", "sklearn.model_selection"):
        importlib.import_module(module)
    dataset = resolve_dataset(arguments.dataset, ReadOptions(), arguments.cache).read()
    before, imports = private_mib(), peak_mib()
    clock = [time.perf_counter()]
    path = notebook_data.unzip(arguments.archive, arguments.unpacked)
    clock.append(time.perf_counter())
    sentences, ids, longest = notebook_data.tokenise(dataset.texts)
    held = notebook_data.split(notebook_data.encode(sentences, ids, longest), dataset.labels)
    clock.append(time.perf_counter())
    held.append(notebook_data.scan(path, ids))
    clock.append(time.perf_counter())
    unzip, tokenise, scan = np.diff(clock).tolist()
    found = {"unzip": unzip, "tokenise": tokenise, "scan": scan, "peak_mib": peak_mib(), "imports_mib": imports}
    return found | {"held_mib": private_mib() - before}


def cold(arguments: argparse.Namespace) -> dict[str, Any]:
    import core.data.load

    importlib.import_module("nltk.tokenize")
    tokenising, tokens_of = [0.0], core.data.load.tokenize_all

    def tokenize(*rest: Any) -> Any:
        began = time.perf_counter()
        result = tokens_of(*rest)
        tokenising[0] = time.perf_counter() - began
        return result

    core.data.load.tokenize_all = tokenize
    return measure(lambda: load(arguments)) | {"tokenise": tokenising[0]}


def warm(arguments: argparse.Namespace) -> dict[str, Any]:
    import core.data.load  # noqa: F401 - imports are not measured

    before = private_mib()
    kept: list[Any] = []
    found = measure(lambda: kept.append(load(arguments)))
    touched = kept[0].vectors.sum() + kept[0].tokens.sum()  # every page of the big arrays
    return found | {"private_mib": private_mib() - before, "touched": float(touched)}


def load(arguments: argparse.Namespace) -> Any:
    from core import load_corpus

    return load_corpus(arguments.dataset, vectors=str(arguments.archive), split="notebook", cache_dir=arguments.cache)


def measure(work: Callable[[], Any]) -> dict[str, Any]:
    imports, began = peak_mib(), time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - began, "peak_mib": peak_mib(), "imports_mib": imports}


def peak_mib() -> float:
    """Return this process's peak memory, with file pages; unlike ru_maxrss, without its parent's."""
    return kib("/proc/self/status", "VmHWM") / 1024


def private_mib() -> float:
    """Return the memory of this process alone, without the page cache that processes share."""
    return kib("/proc/self/smaps_rollup", "Private_Dirty") / 1024


def kib(path: str, name: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise SystemExit(f"{path} has no {name}: this benchmark needs Linux")


STEPS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    work.__name__: work for work in (words, floor, notebook, cold, warm)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--dataset", required=True)
    for name in ("--archive", "--cache", "--unpacked"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    print(json.dumps(STEPS[arguments.step](arguments)))


if __name__ == "__main__":
    main()
