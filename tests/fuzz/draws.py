"""Bad bytes and bad values, drawn from a seeded generator."""

import json
import random
from collections.abc import Callable, Sequence

TOKENS = (
    b"\x00", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n\n", b"\t", b'"', b'""', b"'", b"\\",
    b"\\ud800", b"{", b"}", b"[", b"]", b",", b":", b";", b"- ", b"#", b"&a ", b"*a", b"!!python/object:x ", b"null",
    b"true", b"NaN", b"Infinity", b"-1", b"0", b"1e999", b"-0.0", b"9" * 30, b"1.5", b"../../x", b"/etc/passwd",
    b"\x1b[31m", b"\x1b]0;x\x07", "\u202e".encode(), "\u0663".encode(), "é".encode("latin-1"), "再见".encode(),
    b"\xf0\x9f\x99\x82", b"\x1f\x8b\x08", b"PK\x03\x04", b"PAR1", b"[" * 3000, b"{" * 300, b"x" * 5000, b'{"a":' * 900,
    b"\x0b", b"\x85", b"\xe2\x80\xa8", b"text,label\n", b"<script>", b"|", b"%s", b"${HOME}", b"int(1, 2)", b"log(0,1)",
)  # fmt: skip
"""What readers may stumble over."""
VALUES: tuple[object, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 10**6, 2**31, 2**63, 10**20, -(10**20), 0.0, -0.5, 0.5, 1.0, 1.5, 1e300, 5e-324,
    float("nan"), float("inf"), float("-inf"), "", "0", "x", "\x00", "\ud800", "\u202e", "a" * 300, "a" * 5000, [], {},
    [1], [None], ["x"], {"x": 1}, {"": None}, [[]], {"a": {"b": []}}, "../x", "nan", "1e3",
)  # fmt: skip
"""JSON values of every type."""


def bad_bytes(good: bytes, draw: random.Random) -> bytes:
    """Return a damaged copy of a file: one to three changes."""
    data = good
    for _ in range(draw.randint(1, 3)):
        data = draw.choice(CHANGES)(data, draw)
    return data


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randint(0, len(data))]


def _drop_start(data: bytes, draw: random.Random) -> bytes:
    return data[draw.randint(0, len(data)) :]


def _flip(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(1, 8) if changed else 0):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _insert(data: bytes, draw: random.Random) -> bytes:
    at = draw.randint(0, len(data))
    return data[:at] + draw.choice(TOKENS) + data[at:]


def _replace(data: bytes, draw: random.Random) -> bytes:
    start = draw.randint(0, len(data))
    return data[:start] + draw.choice(TOKENS) + data[start + draw.randint(1, 30) :]


def _move_lines(data: bytes, draw: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    draw.shuffle(lines)
    return b"".join(lines[: draw.randint(0, len(lines))])


def _repeat(data: bytes, draw: random.Random) -> bytes:
    start = draw.randint(0, len(data))
    part = data[start : start + draw.randint(1, 400)]
    return data[:start] + part * draw.randint(2, 20) + data[start:]


def _other(data: bytes, draw: random.Random) -> bytes:
    return b"".join(draw.choice(TOKENS) for _ in range(draw.randint(0, 12)))


def _noise(data: bytes, draw: random.Random) -> bytes:
    return draw.randbytes(draw.randint(0, 200))


def _encoded(data: bytes, draw: random.Random) -> bytes:
    return data.decode("latin-1").encode(draw.choice(("utf-16", "utf-32", "utf-16-be", "utf-7", "utf-8")))


Change = Callable[[bytes, random.Random], bytes]
CHANGES: Sequence[Change] = (
    _cut, _drop_start, _flip, _flip, _insert, _insert, _replace, _replace, _move_lines, _repeat, _other, _noise,
    _encoded,
)  # fmt: skip


def bad_json(good: bytes, draw: random.Random) -> bytes:
    """Return a JSON document, or lines of JSON, in which one to three values have another type or value."""
    lines = good.splitlines()
    is_lines = len(lines) > 1 and lines[1][:1] == b"{"
    chosen = draw.randrange(len(lines)) if is_lines else 0
    document = json.loads(lines[chosen] if is_lines else good)
    for _ in range(draw.randint(1, 3)):
        document = _damaged(document, draw)
    text = json.dumps(document).encode()
    return b"\n".join([*lines[:chosen], text, *lines[chosen + 1 :]]) + b"\n" if is_lines else text


def _damaged(value: object, draw: random.Random) -> object:
    """Return a copy of a JSON value in which one place is changed, removed or added."""
    if not isinstance(value, list | dict) or not value or draw.random() < 0.15:
        return draw.choice(VALUES)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = draw.choice(keys)
    changed = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    fate = draw.random()
    if fate < 0.1:
        del changed[key]
    elif fate < 0.2:
        changed[draw.choice(("x", "", "a" * 300, "epoch:0", "epoch:99999999999999999999"))] = draw.choice(VALUES)
    else:
        changed[key] = _damaged(changed[key], draw)
    return changed if isinstance(value, dict) else list(changed.values())
