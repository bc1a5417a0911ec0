"""Audit a corpus: count what can make its results misleading, and render the counts as plain lines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.corpus import SPLITS, TRAIN
from core.data.splits import duplicate_groups
from core.data.vocabulary import UNK_ID
from core.io.text import printable, quoted

_HEADING = 12
"""Width of a heading in characters."""
PAIRS = ("train/val", "train/test", "val/test")
MAX_SHOWN = 80
"""Characters of a text in an example."""
_EXAMPLES = 3
LOW_COVERAGE = 0.9
"""Share of train's tokens with a word vector below which a warning is given."""


def find_duplicates(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    split: NDArray[np.uint8],
) -> dict[str, Any]:
    """Return counts of copies within splits, across splits and with several labels, as JSON can hold them.

    Exact copies are equal except for space at the ends. Near copies, which include these, equal after `normalize_text`.
    Blank texts are left out.

    Args:
        texts: (n,)
        labels: (n,) places in `classes`.
        classes: class names.
        split: (n,) TRAIN, VAL or TEST.
    """
    first: dict[str, int] = {}
    exact = np.array([first.setdefault(text.strip(), place) for place, text in enumerate(texts)], dtype=np.int64)
    near = duplicate_groups(texts)
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
        across[pair] = {"exact": int((here & np.isin(exact, exact[there])).sum()), "near": int(shared.sum())}
        for place in np.flatnonzero(shared)[:_EXAMPLES]:
            examples.append({"splits": pair, "text": _shown(texts[kept[place]])})
    pairs = np.unique(np.stack([near, labels]), axis=1)  # (2, n_pairs) texts with their labels, sorted by text
    groups, counts = np.unique(pairs[0], return_counts=True)
    torn = groups[counts > 1]
    torn_examples = [
        {"text": _shown(texts[place]), "labels": [classes[label] for label in pairs[1][pairs[0] == place]]}
        for place in torn[:_EXAMPLES]
    ]
    return {
        "duplicates_within": within,
        "duplicates_across": across,
        "leak_examples": examples[:_EXAMPLES],
        "conflicts": {"texts": len(torn), "sentences": int(np.isin(near, torn).sum()), "examples": torn_examples},
    }


def _copies(group: NDArray[np.int64]) -> int:
    """Return the number of sentences that repeat an earlier one."""
    return len(group) - len(np.unique(group))


def _shown(text: str) -> str:
    return printable(text.strip(), MAX_SHOWN)


def audit(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    split: NDArray[np.uint8],
    tokens: NDArray[np.int32],
    offsets: NDArray[np.int64],
    coverage: Mapping[str, Any] | None,
    targets: NDArray[np.float32] | None = None,
) -> dict[str, Any]:
    """Count what misleads: imbalance, duplicates, leaks, contradictions, empty and unknown texts.

    Args:
        texts: (n,) as in the source.
        labels: (n,) places in `classes`.
        classes: class names.
        split: (n,) TRAIN, VAL or TEST.
        tokens: (n_tokens,) word ids, end to end.
        offsets: (n + 1,) sentence i is tokens[offsets[i]:offsets[i + 1]].
        coverage: of the pretrained vectors, see `vector_coverage`; None without them.
        targets: (n, C) as `Corpus.targets`; None without them.

    Returns:
        Plain values that JSON can hold; shares are in [0, 1].
    """
    lengths = np.diff(offsets)
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    top = int(np.bincount(labels[split == TRAIN], minlength=len(classes)).argmax())
    return {
        "sentences": len(texts),
        "classes": [
            {"name": name, "sentences": count, "share": round(count / len(labels), 4)}
            for name, count in zip(classes, counts, strict=True)
        ],
        "splits": {name: int((split == code).sum()) for name, code in SPLITS.items()},
        "majority_baseline": {"class": classes[top], **_shares_held_out(labels == top, split)},
        "tokens": {
            "mean": round(float(lengths.mean()), 2),
            "median": float(np.median(lengths)),
            "p95": float(np.percentile(lengths, 95)),
            "max": int(lengths.max()),
        },
        "empty_texts": sum(not text.strip() for text in texts),
        **find_duplicates(texts, labels, classes, split),
        "unknown_tokens": _shares_held_out(tokens == UNK_ID, np.repeat(split, lengths)),
        "coverage": dict(coverage) if coverage is not None else None,
        **({} if targets is None else {"soft_labels": _soft_labels(targets[split == TRAIN], labels[split == TRAIN])}),
    }


def _soft_labels(targets: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return how often the most probable class is the label, and its mean probability."""
    return {
        "agree": round(float((targets.argmax(axis=1) == labels).mean()), 4),
        "mean_probability": round(float(targets.max(axis=1).mean()), 4),
    }


def _shares_held_out(holds: NDArray[np.bool_], split: NDArray[np.uint8]) -> dict[str, float]:
    """Return the share of val and of test for which `holds` is true."""
    return {
        name: round(float(holds[split == code].mean()), 4)
        for name, code in SPLITS.items()
        if code != TRAIN and (split == code).any()
    }


def vector_coverage(words: Sequence[str], has: NDArray[np.bool_], train_tokens: NDArray[np.int32]) -> dict[str, Any]:
    """Return which share of a vocabulary has pretrained vectors, by word and by token of the train split.

    Args:
        words: (V,) the vocabulary.
        has: (V,) whether a word has a vector; `<pad>` and `<unk>` are left out of every count.
        train_tokens: (n,) word ids.
    """
    counts = np.bincount(train_tokens, minlength=len(words))
    counts[:2] = 0
    missing = np.flatnonzero(~has & (counts > 0))
    missing = missing[np.argsort(-counts[missing], kind="stable")][:10]
    n_words = len(words) - 2
    return {
        "found": int(has[2:].sum()),
        "vocabulary": n_words,
        "by_word": round(float(has[2:].mean()), 4) if n_words else 0.0,
        "by_token": round(float(counts[has].sum() / max(int(counts.sum()), 1)), 4),
        "missing": [[printable(words[place], 40), int(counts[place])] for place in missing.tolist()],
    }


def count_leaks(found: Mapping[str, Any]) -> int:
    """Return how often a sentence of a split is in another one too, over all pairs of splits."""
    return sum(counts["near"] for counts in found["duplicates_across"].values())


def render_audit(found: Mapping[str, Any]) -> str:
    """Return an audit as plain lines; texts in it cannot control a terminal."""
    return "\n".join(_lines(found))


def audit_sections(found: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the lines of `render_audit` by heading."""
    parts: list[tuple[str, list[str]]] = []
    for line in _lines(found):
        if heading := line[:_HEADING].strip():
            parts.append((heading, []))
        parts[-1][1].append(line[_HEADING:])
    return parts


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    present = [name for name in SPLITS if found["splits"][name]]
    splits = ", ".join(f"{name} {found['splits'][name]:,}" for name in present)
    yield f"sentences   {found['sentences']:,} ({splits})"
    classes = found["classes"]
    shown = ", ".join(f"{printable(c['name'], 40)} {c['sentences']:,} ({c['share']:.1%})" for c in classes[:10])
    yield f"classes     {len(classes)}: {shown}{', ...' if len(classes) > 10 else ''}"
    majority = found["majority_baseline"]
    yield f"baseline    always {quoted(majority['class'])} is right in {_shares(majority)}"
    tokens = found["tokens"]
    yield (
        f"tokens      mean {tokens['mean']:.1f}, median {tokens['median']:.0f}, 95% up to {tokens['p95']:.0f}, "
        f"longest {tokens['max']:,}; empty texts {found['empty_texts']:,}"
    )
    yield f"unknown     {_shares(found['unknown_tokens'])} of the tokens, to a vocabulary made from train"
    within = found["duplicates_within"]
    yield f"duplicates  within splits: {_pairs((name, within[name]) for name in present)}"
    across = found["duplicates_across"]
    pairs = [pair for pair in PAIRS if set(pair.split("/")) <= set(present)]
    yield f"leaks       across splits: {_pairs((pair, across[pair]) for pair in pairs)}"
    for example in found["leak_examples"]:
        yield f"            {example['splits']}: {printable(example['text'], MAX_SHOWN)}"
    yield f"conflicts   {found['conflicts']['texts']:,} texts stand under more than one label"
    for example in found["conflicts"]["examples"]:
        labels = " and ".join(printable(label, 40) for label in example["labels"])
        yield f"            {labels}: {printable(example['text'], MAX_SHOWN)}"
    if soft := found.get("soft_labels"):
        yield (
            "soft labels train learns probabilities instead of labels: the most probable class is the label in "
            f"{soft['agree']:.1%}, its mean probability is {soft['mean_probability']:.2f}"
        )
    coverage = found["coverage"]
    if coverage is None:
        yield "vectors     none: every word starts at random"
        return
    yield (
        f"vectors     {coverage['found']:,} of {coverage['vocabulary']:,} words found ({coverage['by_word']:.1%}), "
        f"{coverage['by_token']:.1%} of train's tokens"
    )
    if coverage["missing"]:
        missing = ", ".join(f"{printable(word, 30)} {count:,}" for word, count in coverage["missing"])
        yield f"            most frequent without one: {missing}"


def _pairs(counts: Iterable[tuple[str, Mapping[str, int]]]) -> str:
    return ", ".join(f"{name} {count['exact']:,} exact {count['near']:,} near" for name, count in counts)


def _shares(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {values[name]:.1%}" for name in SPLITS if name in values)


def audit_warnings(found: Mapping[str, Any]) -> list[str]:
    """Return warnings about texts in two splits, texts with several labels, and a low coverage of word vectors.

    Args:
        found: Result of `audit`.

    Returns:
        One line per warning, the most misleading first, without any text of the data.
    """
    lines = []
    across = found["duplicates_across"]
    if shared := [f"{pair} {across[pair]['near']:,}" for pair in PAIRS if across[pair]["near"]]:
        lines.append(f"sentences that stand in two splits: {', '.join(shared)}")
    if torn := found["conflicts"]["texts"]:
        lines.append(f"texts under more than one label: {torn:,}")
    coverage = found["coverage"]
    if coverage is not None and coverage["by_token"] < LOW_COVERAGE:
        lines.append(f"only {coverage['by_token']:.1%} of train's tokens have a word vector")
    return lines
