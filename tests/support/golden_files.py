"""Golden files: read, and compared with what is made now, so that a difference is named by file and line."""

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent.parent / "golden"
Files = dict[str, bytes]
"""Path in a group's folder -> content."""
INEXACT = ("weights_sha256", "val_predictions", "correct", "environment", "best_epoch", "machine")
"""Of `training`: not compared on another machine."""


def files_in(folder: Path) -> Files:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def differences(group: str, made: Files) -> list[str]:
    """For each file that is not the golden one, its name and the first line that differs."""
    golden = files_in(GOLDEN / group)
    if group == "training" and golden.keys() == made.keys() and not same_machine(golden, made):
        return list(far_apart(golden, made))
    found = []
    for name in sorted(golden.keys() | made.keys()):
        path = f"tests/golden/{group}/{name}"
        if name not in made:
            found.append(f"{path} is no longer made")
        elif name not in golden:
            found.append(f"{path} is new")
        elif golden[name] != made[name]:
            found.append(f"{path}: {first_difference(golden[name], made[name])}")
    return found


def first_difference(golden: bytes, made: bytes) -> str:
    """Where two contents begin to differ: the line; the byte where one is no text."""
    try:
        texts = [content.decode().split("\n") for content in (golden, made)]
    except UnicodeDecodeError:
        at = first_unlike(golden, made)
        return f"byte {at} of {len(golden)}: {golden[at : at + 16].hex(' ')}, now {made[at : at + 16].hex(' ')}"
    before, now = texts
    line = first_unlike(before, now)
    old, new = (lines[line] if line < len(lines) else None for lines in texts)
    if old is None or new is None:
        return f"line {line + 1} is the first that {'is new' if old is None else 'is gone'}: {old or new}"
    column = first_unlike(old, new)
    shown = [text[max(0, column - 80) : column + 120] for text in (old, new)]
    return f"line {line + 1} differs from character {column + 1} on:\n  golden: {shown[0]}\n  now:    {shown[1]}"


def first_unlike(one: Sequence[Any], other: Sequence[Any]) -> int:
    """The first place at which two sequences differ; the end of the shorter one where that begins the other."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def same_machine(golden: Files, made: Files) -> bool:
    one, other = (json.loads(files["training.json"])["machine"] for files in (golden, made))
    return bool(one == other)


def far_apart(golden: Files, made: Files) -> Iterator[str]:
    """Leaves of `training` that no other processor or torch explains: losses more than 1e-3 apart, an accuracy more
    than two sentences apart, any other difference outside INEXACT."""
    before, now = (dict(leaves(json.loads(files["training.json"]))) for files in (golden, made))
    for place in dict.fromkeys([*before, *now]):
        old, new = before.get(place), now.get(place)
        if set(place.split("/")) & set(INEXACT):
            continue
        allowed = 0.1 if place.endswith("accuracy") else 1e-3 if "_loss" in place else 0.0
        if isinstance(old, float) and isinstance(new, float) and abs(old - new) <= allowed:
            continue
        if old != new:
            yield f"tests/golden/training/training.json: {place} is {new!r}, golden is {old!r} (from another machine)"


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Each value that is no dict or list, with its place."""
    if isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, each in pairs:
            yield from leaves(each, f"{place}/{name}")
    else:
        yield place, value


def json_of(content: Any) -> bytes:
    """One value a line, so that a difference is in one line."""
    return (json.dumps(content, indent=1) + "\n").encode()


def uncompressed(packed: str) -> str:
    """Packed predictions in a zlib stream that compresses nothing: zlib and zlib-ng compress differently."""
    raw = zlib.decompress(base64.b64decode(packed))
    assert len(raw) < 2**16
    size = len(raw).to_bytes(2, "little") + (len(raw) ^ 0xFFFF).to_bytes(2, "little")
    return base64.b64encode(b"\x78\x01\x01" + size + raw + zlib.adler32(raw).to_bytes(4, "big")).decode()
