"""Damages of a text file, as functions of its lines."""

import random


def flip(lines: list[bytes], draw: random.Random) -> list[bytes]:
    """One to four bytes become others."""
    whole = bytearray(b"".join(lines))
    for _ in range(draw.randint(1, 4)):
        whole[draw.randrange(len(whole))] = draw.choice(b'0159-.eE"{}[],: \n\x00\xff' + bytes(range(97, 123)))
    return [bytes(whole)]


def cut(lines: list[bytes], draw: random.Random) -> list[bytes]:
    """A stretch of bytes is missing."""
    whole = b"".join(lines)
    at = draw.randrange(len(whole))
    return [whole[:at] + whole[at + draw.randint(1, 400) :]]


def lose(lines: list[bytes], draw: random.Random) -> list[bytes]:
    at = draw.randrange(len(lines))
    return lines[:at] + lines[at + 1 :]


def double(lines: list[bytes], draw: random.Random) -> list[bytes]:
    at = draw.randrange(len(lines))
    return [*lines[: at + 1], *lines[at:]]


def swap(lines: list[bytes], draw: random.Random) -> list[bytes]:
    one, other = draw.sample(range(len(lines)), 2)
    changed = list(lines)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


OF_ANY_LINES = (flip, cut, lose, double, swap)
