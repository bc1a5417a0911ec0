"""Audit a corpus: count what can make its results misleading, and render the counts as plain lines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.corpus import SPLITS, TRAIN
from core.data.splits import duplicate_groups, first_equal
from core.data.vocabulary import MAX_WORDS, UNK_ID
from core.io.text import listed, printable, quoted, similar_labels

_HEADING = 12
"""Width of a heading in characters."""
PAIRS = ("train/val", "train/test", "val/test")
MAX_SHOWN = 80
"""Characters of a text in an example."""
_EXAMPLES = 3
_BLOCK = 1 << 20
READ_NOTES = ("text_column", "label_column", "dropped_rows")
"""Notes of a dataset that an audit shows."""
LOW_COVERAGE = 0.9
"""Share of train's tokens with a word vector below which a warning is given."""
LONG_CHARACTERS = 16
"""Length of a text that should be more than one token."""
MAX_SINGLE = 0.05
"""Share of long texts that are one token above which a warning is given."""
MAX_RATIO = 10
"""Largest class, as a multiple of the smallest, above which a warning is given."""
MIN_CLASS = 15
"""Number of sentences of a class below which a warning is given: one in validation, one in test."""
MAX_TOKENS = 2_000
"""Number of tokens of a sentence above which a warning is given: the whole batch is padded to it."""
MIN_VALIDATION = 100
"""Number of validation sentences below which a warning is given: one sentence is a point of accuracy, and the 95%
interval of an accuracy of 80% is 16 points wide."""
MAX_COPIES = 0.1
"""Share of copies in the validated sentences or the test split above which a warning is given: intervals count each
sentence. Also the share of one text in its class, if it has three copies or more: a split has all of them or none."""
MANY_CLASSES, SENTENCES_PER_CLASS = 20, 20
"""With more classes and fewer sentences of each on average, a warning is given."""


def _duplicates(
    texts: Sequence[str], labels: NDArray[np.int64], classes: Sequence[str], split: NDArray[np.uint8]
) -> dict[str, Any]:
    """Return counts of copies within splits, across splits and with several labels, for JSON.

    Also the text with the largest share of its class, if that is large.
    Exact copies are equal except for space at the ends. Near copies, which include these, equal after `normalize_text`.
    Blank texts are left out.
    """
    exact, near = first_equal(text.strip() for text in texts), duplicate_groups(texts)
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
    unique, sizes = np.unique(near * len(classes) + labels, return_counts=True)
    pairs = np.divmod(unique, len(classes))  # texts and their labels, sorted by text
    shares, frequent = np.where(sizes > 2, sizes / np.bincount(labels)[pairs[1]], 0), None
    if (share := round(float(shares.max(initial=0)), 4)) > MAX_COPIES:
        top = int(shares.argmax())
        text, label = texts[pairs[0][top]], classes[pairs[1][top]]
        frequent = {"text": _shown(text), "class": label, "sentences": int(sizes[top]), "share": share}
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
        **({} if frequent is None else {"frequent_text": frequent}),
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
    """Count what can mislead: imbalance, duplicates, leaks, contradictions, empty and unknown texts.

    Args:
        texts: (n,) as in the source.
        labels: (n,) places in `classes`.
        classes: Class names.
        split: (n,) TRAIN, VAL or TEST.
        tokens: (n_tokens,) word ids, end to end.
        offsets: (n + 1,) sentence i is tokens[offsets[i]:offsets[i + 1]].
        coverage: Coverage of the pretrained vectors, see `vector_coverage`; None without them.
        targets: (n, C) as `Corpus.targets`; None without them.

    Returns:
        Plain values, for JSON; shares are in [0, 1].
    """
    lengths = np.diff(offsets)
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    in_train = np.bincount(labels[split == TRAIN], minlength=len(classes))
    top = int(in_train.argmax())
    token_splits = np.repeat(split, lengths)
    is_full = bool(((tokens == MAX_WORDS - 1) & (token_splits == TRAIN)).any())
    return {
        "sentences": len(texts),
        "classes": [
            {"name": name, "sentences": count, "share": round(count / len(labels), 4)}
            for name, count in zip(classes, counts, strict=True)
        ],
        "splits": {name: int((split == code).sum()) for name, code in SPLITS.items()},
        "majority_baseline": {
            "class": classes[top],
            **_shares_held_out(labels == top, split),
            "train_shares": (in_train / in_train.sum()).tolist(),
        },
        "tokens": {
            "mean": round(float(lengths.mean()), 2),
            "median": float(np.median(lengths)),
            "p95": float(np.percentile(lengths, 95)),
            "max": int(lengths.max()),
        },
        "empty_texts": sum(not text.strip() for text in texts),
        "single_tokens": sum(
            len(text.strip()) >= LONG_CHARACTERS for text, length in zip(texts, lengths, strict=True) if length == 1
        ),
        **_duplicates(texts, labels, classes, split),
        "unknown_tokens": _shares_held_out(tokens == UNK_ID, token_splits),
        **({"most_words": MAX_WORDS - 2} if is_full else {}),
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
    counts = np.zeros(len(words), dtype=np.int64)
    for start in range(0, len(train_tokens), _BLOCK):  # bincount holds a copy of 8 bytes a token
        counts += np.bincount(train_tokens[start : start + _BLOCK], minlength=len(words))
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


def render_audit(found: Mapping[str, Any], metric: str | None = None) -> str:
    """Return an audit as plain lines; texts in it cannot control a terminal.

    Args:
        found: The audit.
        metric: The metric of the study; None before there is one.
    """
    return "\n".join(f"{heading:<{_HEADING}}{text}" for heading, text in _lines(found, metric))


def audit_sections(found: Mapping[str, Any], metric: str | None = None) -> list[tuple[str, list[str]]]:
    """Return the lines of `render_audit` by heading."""
    parts: list[tuple[str, list[str]]] = []
    for heading, text in _lines(found, metric):
        if heading:
            parts.append((heading, []))
        parts[-1][1].append(text)
    return parts


def _lines(found: Mapping[str, Any], metric: str | None) -> Iterator[tuple[str, str]]:
    """Yield each line and its heading, which is empty if the line belongs to the one before it."""
    present = [name for name in SPLITS if found["splits"][name]]
    splits = ", ".join(f"{name} {found['splits'][name]:,}" for name in present)
    yield "sentences", f"{found['sentences']:,} ({splits})"
    if "text_column" in found:
        named = {what: found[f"{what}_column"] for what in ("text", "label")}
        columns = [f"{what} {quoted(name)}" for what, name in named.items() if name is not None]
        dropped = f"; rows left out: {found['dropped_rows']:,}" if "dropped_rows" in found else ""
        yield "columns", f"{', '.join(columns)}{dropped}"
    classes = found["classes"]
    shown = ", ".join(f"{printable(c['name'], 40)} {c['sentences']:,} ({c['share']:.1%})" for c in classes[:10])
    yield "classes", f"{len(classes)}: {shown}{', ...' if len(classes) > 10 else ''}"
    majority = found["majority_baseline"]
    if shares := _shares(majority):
        yield "majority", f"always predicting {quoted(majority['class'])} is correct in {shares}"
    tokens = found["tokens"]
    lengths = f"mean {tokens['mean']:.1f}, median {tokens['median']:.0f}, 95% up to {tokens['p95']:.0f}"
    yield "tokens", f"{lengths}, longest {tokens['max']:,}; empty texts {found['empty_texts']:,}"
    words = "train" if found["coverage"] is None else "train and the word vectors"
    if limit := found.get("most_words"):  # then no word of the vectors fits
        words = f"the {limit:,} most frequent words of train"
    if shares := _shares(found["unknown_tokens"]):
        yield "unknown", f"{shares} of the tokens, for a vocabulary made from {words}"
    within = found["duplicates_within"]
    yield "duplicates", f"within splits: {_pairs((name, within[name]) for name in present)}"
    across = found["duplicates_across"]
    if pairs := [pair for pair in PAIRS if set(pair.split("/")) <= set(present)]:
        yield "leaks", f"across splits: {_pairs((pair, across[pair]) for pair in pairs)}"
    for example in found["leak_examples"]:
        yield "", f"{example['splits']}: {printable(example['text'], MAX_SHOWN)}"
    torn = found["conflicts"]["texts"]
    yield "conflicts", f"{torn:,} {'text has' if torn == 1 else 'texts have'} near copies with another label"
    for example in found["conflicts"]["examples"]:
        labels = [printable(label, 40) for label in example["labels"]]
        shown = " and ".join(labels) if len(labels) <= _EXAMPLES else listed(labels, _EXAMPLES)
        yield "", f"{shown}: {printable(example['text'], MAX_SHOWN)}"
    if soft := found.get("soft_labels"):
        use = "train uses probabilities instead of labels: the most probable class is the label in"
        yield "soft labels", f"{use} {soft['agree']:.1%}, its mean probability is {soft['mean_probability']:.2f}"
    yield from _vector_lines(found["coverage"])
    for at, warning in enumerate(audit_warnings(found, metric)):
        yield "" if at else "warnings", warning


def _vector_lines(coverage: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if coverage is None:
        yield "vectors", "none: every word starts with a random vector"
        return
    words = f"{coverage['found']:,} of {coverage['vocabulary']:,} words found ({coverage['by_word']:.1%})"
    yield "vectors", f"{words}, {coverage['by_token']:.1%} of train's tokens"
    if coverage["missing"]:
        missing = ", ".join(f"{printable(word, 30)} {count:,}" for word, count in coverage["missing"])
        yield "", f"most frequent without one: {missing}"


def _pairs(counts: Iterable[tuple[str, Mapping[str, int]]]) -> str:
    return ", ".join(f"{name} {count['exact']:,} exact {count['near']:,} near" for name, count in counts)


def _shares(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {values[name]:.1%}" for name in SPLITS if name in values)


def audit_warnings(found: Mapping[str, Any], metric: str | None = None) -> list[str]:
    """Return a line for each finding that is likely to mislead, with the remedy; the most misleading comes first.

    Args:
        found: Result of `audit`.
        metric: The metric of the study; None before there is one.
    """
    across, splits = found["duplicates_across"], found["splits"]
    lines = []
    if shared := [f"{pair} {across[pair]['near']:,}" for pair in PAIRS if across[pair]["near"]]:
        lines.append(f"sentences in two splits: {', '.join(shared)}; remove the copies, or omit --split-column")
    if "soft_labels" in found and found.get("label_column", "") is None:
        lines.append(
            "no label column: validation and test are measured against the most probable class; pass --label-column if "
            "the file has labels"
        )
    single = found["single_tokens"]
    if single > MAX_SINGLE * found["sentences"]:
        lines.append(
            f"sentences that are a single word: {single:,} ({single / found['sentences']:.1%}); pass --tokenizer "
            "characters if their script has no spaces"
        )
    if (longest := found["tokens"]["max"]) > MAX_TOKENS:
        lines.append(
            f"tokens of the longest sentence: {longest:,}; its batch takes much memory and time, so cut or split it"
        )
    if 0 < splits["val"] < MIN_VALIDATION:
        smallest = min(each["sentences"] for each in found["classes"])
        more = "pass --validation folds:5" if smallest >= 6 else "add sentences"  # the test split takes one of six
        lines.append(f"validation sentences: {splits['val']}, too few to distinguish trials; {more}")
    measured = ("val" if splits["val"] else "train", "test")  # folds validate the train split
    repeated = {name: found["duplicates_within"][name]["near"] for name in measured}
    if copies := [f"{name} {count:,}" for name, count in repeated.items() if count > MAX_COPIES * splits[name]]:
        lines.append(f"copies within a split: {', '.join(copies)}; remove them, else the intervals are too narrow")
    if (frequent := found.get("frequent_text")) and not shared:
        lines.append(
            f"one text is {frequent['share']:.0%} of class {quoted(frequent['class'])}: "
            f"{quoted(frequent['text'], MAX_SHOWN)}; its {frequent['sentences']:,} copies are all in one split, so an "
            "accuracy counts all of them or none: remove most of them"
        )
    if empty := found["empty_texts"]:
        lines.append(f"empty texts: {empty:,}; pass --drop-missing, or fill them in")
    if torn := found["conflicts"]["texts"]:
        lines.append(f"texts that have near copies with another label: {torn:,}; check these labels")
    lines += _class_warnings([(each["name"], each["sentences"]) for each in found["classes"]], metric)
    coverage = found["coverage"]
    if coverage is not None and coverage["by_token"] < LOW_COVERAGE:
        lines.append(
            f"words of train without a word vector: {1 - coverage['by_token']:.1%}; choose --vectors in the language "
            "of the texts, with more of their words; of the named ones, all English, fasttext has the most"
        )
    return lines


def _class_warnings(classes: Sequence[tuple[str, int]], metric: str | None) -> list[str]:
    """Return warnings about classes, which have a name and a number of sentences."""
    lines = []
    if alike := similar_labels([name for name, _ in classes]):
        lines.append(f"labels that may be the same: {listed(alike, _EXAMPLES)}; write them in one way")
    total = sum(count for _, count in classes)
    (most, largest), (least, smallest) = (end(classes, key=lambda each: each[1]) for end in (max, min))
    few = [f"{quoted(name)} {count}" for name, count in classes if count < MIN_CLASS]
    if len(classes) > MANY_CLASSES and total < SENTENCES_PER_CLASS * len(classes):
        lines.append(f"classes: {len(classes):,}, with {total / len(classes):.1f} sentences on average; merge classes")
    elif few:
        shown = listed(few, _EXAMPLES)
        lines.append(f"classes with fewer than {MIN_CLASS} sentences: {shown}; add sentences, or merge classes")
    if largest > MAX_RATIO * smallest:
        advice = "search with --metric macro_f1 and --set 'class_weight=choice(none,balanced)'"
        if metric not in (None, "accuracy"):
            advice = "look at each class with `sentune best STUDY --trial N`"
        ratio = f"{largest / smallest:.0f} times as many sentences"
        lines.append(f"class {quoted(most)} has {ratio} as {quoted(least)}; {advice}")
    return lines
