"""`data --list`, `--verify` and `--clear`: what is in the cache, whether it is whole, and away with it."""

from collections.abc import Callable
from pathlib import Path

from core.errors import CorruptionError, UserError
from core.io import cache
from core.io.cache import read_manifest
from tuning.formatting import megabytes


def upkeep(cache_dir: Path | None, what: str, note: Callable[[str], None]) -> None:
    """Print what was asked for.

    Args:
        cache_dir: None for the default one.
        what: list, verify or clear.
        note: told when another process is waited for.

    Raises:
        CorruptionError: `verify` found damage; every damaged entry was printed before.
    """
    folder = cache_dir or cache.default_dir()
    if what == "clear":
        print(f"{folder}: {megabytes(cache.clear(folder, note))} freed")
        return
    states = {path: _contents(path) for path in cache.entries(folder)}
    damaged: dict[Path, str | None] = {}
    if what == "verify":
        damaged = {path: problem for path, problem in cache.verify(folder).items() if problem}
        states = {path: damaged.get(path) or f"whole: {text}" for path, text in states.items()}
    sizes = {path: cache.size_bytes(path) for path in states}
    for path, state in states.items():
        print(f"{path.parent.name}/{path.name[:12]}  {megabytes(sizes[path]):>10}  {state}")
    print(f"{folder}: {len(sizes)} entries, {megabytes(sum(sizes.values()))}")
    if damaged:
        raise CorruptionError(f"{len(damaged)} damaged: each is built again when it is needed next")


def _contents(path: Path) -> str:
    """What a cache entry was made from, in a line."""
    try:
        inputs = read_manifest(path).inputs
    except (UserError, FileNotFoundError) as damage:
        return str(damage)
    if "data" not in inputs:
        return str(inputs.get("source", "?"))
    vectors, split = inputs["vectors"] or {"vectors": "none"}, inputs["split"]
    return f"{inputs['data']['dataset']}, split {split['rule']} seed {split['seed']}, vectors {vectors['vectors']}"
