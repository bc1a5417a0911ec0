"""Copies: the same text within a split, across splits, or under two labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.corpus import SPLITS
from core.data.splits import groups_of
from core.io.text import printable

PAIRS = ("train/val", "train/test", "val/test")
SHOWN = 80
"""Characters of a text in an example."""
_EXAMPLES = 3


def sameness(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    split: NDArray[np.uint8],
) -> dict[str, Any]:
    """Copies within splits, across splits and under several labels, as JSON can hold it.

    Exact copies are equal but for space at the ends; near ones, these included, are equal after `normalise`.
    Blank texts are left out.

    Args:
        texts: (n,)
        labels: (n,) places in `classes`.
        classes: class names.
        split: (n,) TRAIN, VAL or TEST.
    """
    first: dict[str, int] = {}
    exact = np.array([first.setdefault(text.strip(), place) for place, text in enumerate(texts)], dtype=np.int64)
    near = groups_of(texts)
    kept = np.array([place for place, text in enumerate(texts) if text.strip()], dtype=np.int64)
    exact, near, labels, split = exact[kept], near[kept], labels[kept], split[kept]
    within = {
        name: {kind: _copies(group[split == code]) for kind, group in (("exact", exact), ("near", near))}
        for name, code in SPLITS.items()
    }
    across = {}
    examples = []
    for pair in PAIRS:
        one, other = pair.split("/")
        here, there = split == SPLITS[other], split == SPLITS[one]
        shared = here & np.isin(near, near[there])
        across[pair] = {
            "exact": int((here & np.isin(exact, exact[there])).sum()),
            "near": int(shared.sum()),
        }
        for place in np.flatnonzero(shared)[:_EXAMPLES]:
            examples.append({"splits": pair, "text": _shown(texts[kept[place]])})
    return {
        "duplicates_within": within,
        "duplicates_across": across,
        "leak_examples": examples[:_EXAMPLES],
        "conflicts": _conflicts(texts, near, kept, labels, classes),
    }


def _copies(group: NDArray[np.int64]) -> int:
    """Sentences that repeat an earlier one."""
    return len(group) - len(np.unique(group))


def _conflicts(
    texts: Sequence[str],
    group: NDArray[np.int64],
    kept: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Texts that stand under more than one label."""
    pairs = np.unique(np.stack([group, labels]), axis=1)  # (2, n_pairs), sorted by group
    groups, counts = np.unique(pairs[0], return_counts=True)
    torn = groups[counts > 1]
    examples = [
        {"text": _shown(texts[place]), "labels": [classes[label] for label in pairs[1][pairs[0] == place]]}
        for place in torn[:_EXAMPLES]
    ]
    return {"texts": len(torn), "sentences": int(np.isin(group, torn).sum()), "examples": examples}


def _shown(text: str) -> str:
    return printable(text.strip(), SHOWN)
