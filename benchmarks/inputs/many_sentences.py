"""Write any number of distinct labelled sentences, made of the halves of real ones.

Each text is the first half of one rated sentence (snippets, Amazon reviews, tweets, editorials) and the second half of
another one with the same label. In half of the texts, two neighbouring words become one, such as `worth-the`. The
vocabulary therefore keeps growing with the number of texts, as that of real texts does: 58,000 words in 100,000 texts
and 170,000 in a million.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.inputs.corpora import write_csv
from benchmarks.inputs.labelled_sets import RATED, read_set

SEED = 0
Halves = list[tuple[list[str], list[str]]]


def write_many(path: Path, count: int) -> None:
    """Write a CSV with the columns text and label; the first sentences of a larger file are those of a smaller one."""
    write_csv(path, ("text", "label"), distinct_sentences(count))


def distinct_sentences(count: int) -> Iterator[tuple[str, str]]:
    """Yield texts, no two of them alike, with the labels negative and positive in turn."""
    halves = _halves_by_class()
    draw = np.random.default_rng(SEED)
    seen: set[bytes] = set()
    while len(seen) < count:
        name = list(halves)[len(seen) % len(halves)]
        first, second, place, joins = draw.integers(0, 2**31, 4).tolist()
        ours = halves[name]
        words = [*ours[first % len(ours)][0], *ours[second % len(ours)][1]]
        if joins % 2 and len(words) > 1:
            at = place % (len(words) - 1)
            words[at : at + 2] = [f"{words[at]}-{words[at + 1]}"]
        text = " ".join(words)
        digest = hashlib.blake2b(text.lower().encode(), digest_size=12).digest()
        if digest not in seen:
            seen.add(digest)
            yield text, name


def _halves_by_class() -> dict[str, Halves]:
    found: dict[str, Halves] = {}
    for name in RATED:
        data = read_set(name)
        for text, label in zip(data.texts, data.labels.tolist(), strict=True):
            words = text.split()
            middle = (len(words) + 1) // 2
            found.setdefault(data.classes[label], []).append((words[:middle], words[middle:]))
    return dict(sorted(found.items()))
