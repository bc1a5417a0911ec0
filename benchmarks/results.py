"""What several scripts report: verdicts on claims, and files that hold one result per line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Result = dict[str, Any]


def verdict(holds: bool, *, conclusive: bool = True) -> str:
    """Return the end of a claim's line; the short form of a script does not decide."""
    return "run too small to decide" if not conclusive else "holds" if holds else "DOES NOT HOLD"


def read_results(path: Path) -> list[Result]:
    """Return all results so far; cut off the partial last line of an interrupted command."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]


def has_result(path: Path, what: Mapping[str, Any]) -> bool:
    """Return whether a result with these values has been recorded."""
    return any(what.items() <= result.items() for result in read_results(path))


def add_result(path: Path, result: Result) -> None:
    """Append a line."""
    with path.open("a") as file:
        file.write(json.dumps(result) + "\n")
