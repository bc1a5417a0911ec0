"""Split rules: assign sentences to train, validation and test, with duplicates always in the same split."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.corpus import SPLITS, TEST, TRAIN, VAL, Dataset
from core.errors import ConfigError, DataError, is_whole, short_repr
from core.io.text import listed, quoted, similar_labels

DEFAULT_SPLIT = "80/10/10"
MIN_PER_CLASS = 3
"""One sentence of each class for each of train, validation and test."""
MAX_VALIDATION_FOLDS = 20
NO_FOLD = 255
"""Fold of a sentence that is in the test split."""
_COLUMN_VALUES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "dev": VAL,
    "test": TEST,
    "testing": TEST,
}
Codes = NDArray[np.uint8]
"""(n_sentences,) TRAIN, VAL or TEST."""


class _Dropping(dict[int, int | None]):
    """Table for `str.translate` that drops punctuation, spaces and control characters; each is looked up once.

    Unicode 3.2 is in every Python, so two Python versions agree about every text. Characters that are newer
    (emoji, for one) count as content and stay.
    """

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.ucd_3_2_0.category(chr(code))
        self[code] = None if category[0] in "PZ" or category in ("Cc", "Cf") else code
        return self[code]


_DROPPING = _Dropping()


def normalize_text(text: str) -> str:
    """Return the text in lower case and NFC, without punctuation and space: the form in which duplicates are equal.

    A text of punctuation only, such as ":)", keeps it, so that it does not equal ":(".
    """
    lowered = text.lower().replace("i\u0307", "i")  # the lower case of the Turkish İ
    kept = lowered.translate(_DROPPING)
    return (kept if kept.isascii() else unicodedata.ucd_3_2_0.normalize("NFC", kept)) or lowered.strip()


def _parse_validation(validation: str) -> int | None:
    """Return the K of `folds:K`, None for `split`."""
    if validation == "split":
        return None
    match = re.fullmatch(r"folds:(\d{1,4})", validation, re.ASCII)
    if match is None or not 2 <= int(match[1]) <= MAX_VALIDATION_FOLDS:
        raise ConfigError(
            f"validation must be split, or folds:K with K from 2 to {MAX_VALIDATION_FOLDS}, got {validation!r}"
        )
    return int(match[1])


def duplicate_groups(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return (n,): for each text, the index of the first text that is equal after `normalize_text`."""
    return first_equal(map(normalize_text, texts))


def first_equal(texts: Iterable[str]) -> NDArray[np.int64]:
    """Return (n,): for each text, the index of the first equal text. Digests are compared, so no text is held."""
    _, first, number = np.unique(_digests(texts), return_index=True, return_inverse=True)
    return np.asarray(first[number], dtype=np.int64)


def _digests(texts: Iterable[str]) -> NDArray[np.bytes_]:
    """Return (n,) the sha256 of each text."""
    digests = bytearray()
    for text in texts:
        digests += hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return np.frombuffer(digests, dtype="S32")


def stratified_split(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    seed: int,
    percent: tuple[int, int] = (10, 10),
) -> Codes:
    """Split every class, ordered by a hash of the seed and each normalised text.

    The split depends neither on a random generator nor on the order of the sentences. A share is rounded to the nearest
    whole number and is at least 1. A text under two labels counts for the label of its first copy. A text with more
    copies than a share is in train, unless validation or test would have no text of the class. The shares are those of
    the other texts: their variety stays in train too.

    Args:
        texts: (n,)
        labels: (n,) places in `classes`.
        classes: Class names.
        seed: Seed of the order.
        percent: Percentages of the validation and the test split, which may be 0; the other sentences are in train.

    Raises:
        DataError: A class has fewer distinct sentences than there are splits.
    """
    val, test = percent
    groups = _group(texts, labels, classes, seed, MIN_PER_CLASS if test else MIN_PER_CLASS - 1)
    codes = np.full(len(groups.sizes), TRAIN, dtype=np.uint8)  # of each group

    def quotas(sizes: NDArray[np.int64]) -> dict[int, int]:
        total = int(sizes.sum())
        return {code: max(1, round(total * share / 100)) for code, share in ((TEST, test), (VAL, val)) if share}

    for members in groups.by_class:
        sizes = groups.sizes[members]
        small = sizes[sizes <= min(quotas(sizes).values())]  # only once: else few would be left of a skewed class
        quota = quotas(small)
        # Groups bigger than a split come last and smallest first: they stay in train wherever others can fill.
        members = members[np.argsort(np.maximum(groups.sizes[members], min(quota.values())), kind="stable")]
        for code, size in quota.items():
            moved = _fill(groups.sizes[members], size, leave=2 if code == TEST else 1)
            codes[members[moved]] = code
            members = np.delete(members, moved)
    return codes[groups.number]


def _fill(sizes: NDArray[np.int64], quota: int, leave: int) -> list[int]:
    """Return the places of the groups that fit `quota` one after the other: from one to all but `leave`."""
    filled, moved = 0, list[int]()
    for place, size in enumerate(sizes.tolist()):
        if filled == 0 or (filled + size <= quota and len(moved) < len(sizes) - leave):
            moved.append(place)
            filled += size
    return moved


def _parse_shares(split: str) -> tuple[int, int] | None:
    """Return the percentages of validation and test in `TRAIN/VAL/TEST`; None for another rule."""
    match = re.fullmatch(r"([1-9]\d?)/(0|[1-9]\d?)/(0|[1-9]\d?)", split, re.ASCII)
    if match is None:
        return None
    train, val, test = (int(share) for share in match.groups())
    if train + val + test != 100 or not val:
        raise ConfigError(
            f"split TRAIN/VAL/TEST must be whole percentages with the sum 100, of which only TEST may be 0, "
            f"got {split!r}"
        )
    return val, test


def fold_split(
    texts: Sequence[str], labels: NDArray[np.int64], classes: Sequence[str], count: int, fold: int, seed: int
) -> Codes:
    """Return the split with fold `fold` (from 0) of `count` as test, the next one as validation, the others as train.

    It is stratified, and ordered by hash as in `stratified_split`. Every sentence is tested in exactly one fold.

    Raises:
        DataError: A class has fewer distinct sentences than there are folds.
    """
    folds = assign_folds(texts, labels, classes, count, seed)
    codes = np.full(len(texts), TRAIN, dtype=np.uint8)
    codes[folds == fold] = TEST
    codes[folds == (fold + 1) % count] = VAL
    return codes


def assign_folds(
    texts: Sequence[str], labels: NDArray[np.int64], classes: Sequence[str], count: int, seed: int, *, of: str = ""
) -> NDArray[np.int64]:
    """Return the fold, from 0, of each text. Each class is spread evenly; copies of a text are in the same fold.

    Args:
        texts, labels, classes: The sentences.
        count: Number of folds.
        seed: Decides the folds.
        of: Which sentences of a file these are, for the message, such as ` outside the test split`.

    Raises:
        DataError: A class has fewer distinct sentences than there are folds.
    """
    groups = _group(texts, labels, classes, seed, count, folds=True, of=of)
    folds = np.zeros(len(groups.sizes), dtype=np.int64)  # of each group
    total = [0] * count
    for members in groups.by_class:
        members = members[np.argsort(-groups.sizes[members], kind="stable")]
        filled = [0] * count
        for group, size in zip(members.tolist(), groups.sizes[members].tolist(), strict=True):
            target = min(range(count), key=lambda fold: (filled[fold], total[fold]))  # of this class, then of all
            folds[group] = target
            filled[target] += size
            total[target] += size
    return folds[groups.number]


def notebook_split(texts: Sequence[str]) -> Codes:
    """Return the tutorial notebook's split: 90/10, random_state 42, not stratified, no test split.

    It is identical to scikit-learn's.

    `sklearn.model_selection.train_test_split(test_size=0.1, random_state=42)` takes the first ceil(n / 10) of
    `RandomState(42).permutation(n)`, and NumPy has frozen that generator. One difference: copies of a sentence are in
    the split of its first copy, where the notebook can put them into both.

    Raises:
        DataError: Train or validation is empty.
    """
    codes = np.full(len(texts), TRAIN, dtype=np.uint8)
    shuffled = np.random.RandomState(42).permutation(len(texts))
    codes[shuffled[: -(-len(texts) // 10)]] = VAL
    codes = codes[duplicate_groups(texts)]
    if len(texts) < 2 or not (codes == TRAIN).any() or not (codes == VAL).any():
        raise DataError(
            f"split notebook needs at least 2 distinct sentences, got {len(texts)} with copies, which leave train or "
            "validation empty; add sentences, or choose another --split"
        )
    return codes


def parse_split_value(value: str) -> int | None:
    """Return TRAIN, VAL or TEST for a cell of a split column; None for any other value."""
    return _COLUMN_VALUES.get(value.strip().lower())


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class _Groups:
    """Texts in groups of copies. The groups are numbered in the order of a hash."""

    number: NDArray[np.int64]
    """(n,) the group of each text."""
    sizes: NDArray[np.int64]
    """(G,) number of texts in each group."""
    by_class: list[NDArray[np.int64]]
    """Groups of each class, by the label of their first text, ascending."""


def _group(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    seed: int,
    least: int,
    *,
    folds: bool = False,
    of: str = "",
) -> _Groups:
    """Group the copies of a text (see `normalize_text`); the order depends on the texts and the seed alone.

    Raise DataError if classes have fewer groups than `least`, which is a number of folds if `folds` is true.
    """
    digests = _digests(f"{seed}\0{normalize_text(text)}" for text in texts)
    _, first, number, sizes = np.unique(digests, return_index=True, return_inverse=True, return_counts=True)
    own = labels[first]  # of each group
    by_class = [np.flatnonzero(own == label) for label in range(len(classes))]
    if any(len(members) < least for members in by_class):
        totals = np.bincount(labels, minlength=len(classes)).tolist()
        message = _too_small(classes, list(map(len, by_class)), totals, least, folds=folds, of=of)
        if torn := len(np.unique(number[labels != labels[first[number]]])):
            message += f"; texts with several labels, which count for the first one: {torn:,}; keep one label of each"
        raise DataError(message)
    return _Groups(number=number, sizes=sizes, by_class=by_class)


def _too_small(
    classes: Sequence[str], distinct: Sequence[int], totals: Sequence[int], least: int, *, folds: bool, of: str
) -> str:
    """Return the message about all classes with fewer distinct sentences than `least`; of each, the total is given."""
    small = [place for place, count in enumerate(distinct) if count < least]
    counts = [
        f"class {quoted(classes[place])} has {distinct[place]} distinct sentence{'s' * (distinct[place] != 1)} "
        f"({totals[place]} in all){of}"
        for place in small
    ]
    fewest = 2 if of else MIN_PER_CLASS  # --validation folds:2, --split folds:3
    fewer = f"use at most {min(distinct)} folds, " if folds and min(distinct) >= fewest else ""
    message = f"{listed(counts, 5)}, a split needs at least {least}; {fewer}add some, or leave out the class"
    alike = similar_labels(classes)
    hint = f"; labels that may be the same: {listed(alike, 5)}; write them in one way" if alike else ""
    return message + "es" * (len(small) > 1) + hint


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitRule:
    """A validated split rule with its seed and fold."""

    name: str
    seed: int | None
    count: int | None
    fold: int | None
    validation_folds: int | None = None
    """Number of folds of the training sentences that replace a validation split; None for a split."""
    shares: tuple[int, int] | None = None
    """Percentages of the validation and the test split."""

    @classmethod
    def of(cls, split: str, seed: int, fold: int | None, column: str | None, validation: str = "split") -> "SplitRule":
        """Check a rule and its arguments; `count` is the K of `folds:K`, which does not use a column.

        Raises:
            ConfigError: The rule is unknown, K is below 3, or the seed, the fold or the column does not fit it.
        """
        if column is not None and split == DEFAULT_SPLIT:
            split = "column"
        match = re.fullmatch(r"folds:(\d{1,4})", split, re.ASCII)
        count = int(match[1]) if match else None
        shares = _parse_shares(split)
        if count is None and shares is None and split not in ("notebook", "column"):
            raise ConfigError(
                f"split must be TRAIN/VAL/TEST in percent such as 80/10/10, notebook or column, got {short_repr(split)}"
            )
        if count is None and fold is not None:
            raise ConfigError(f"fold is for split folds:K only, got fold {short_repr(fold)} with split {split!r}")
        if count is not None and fold is None:
            usual = min(max(count, 2), MAX_VALIDATION_FOLDS)
            raise ConfigError(
                f"split folds:K is for load_corpus(fold=...), got {split!r} without a fold; did you mean "
                f"--validation folds:{usual}?"
            )
        if count is not None and count < 3:
            raise ConfigError(f"split folds:K needs K of at least 3 (train, validation and test), got {count}")
        if count is not None and not is_whole(fold, 0, count - 1):
            raise ConfigError(
                f"fold must be a whole number from 0 to {count - 1} with split {split}, got {short_repr(fold)}"
            )
        if split == "column" and column is None:
            raise ConfigError("split column needs the name of a column; pass --split-column, or another split")
        if split != "column" and column is not None and count is None:
            raise ConfigError(
                f"--split-column {short_repr(column)} and split {split!r} exclude each other; leave out --split or "
                "--split-column"
            )
        if not is_whole(seed, 0, 2**32 - 1):
            raise ConfigError(f"seed must be a whole number from 0 to 2**32 - 1, got {short_repr(seed)}")
        folds = _parse_validation(validation)
        seeded = seed if folds else {"notebook": 42, "column": None}.get(split, seed)
        return cls(name=split, seed=seeded, count=count, fold=fold, validation_folds=folds, shares=shares)

    def inputs(self) -> dict[str, Any]:
        folds = {"validation_folds": self.validation_folds} if self.validation_folds else {}
        return {"rule": self.name, "seed": self.seed, "fold": self.fold, **folds}

    def assign(self, read: Dataset) -> tuple[Codes, NDArray[np.uint8] | None]:
        """Return the split of each sentence, and the fold of each if the training sentences are validated in folds.

        Folds are numbered from 0; a sentence of the test split has NO_FOLD. The validation split is then empty.

        Raises:
            DataError: The sentences do not fill the splits or the folds.
        """
        codes = self._codes(read)
        if self.validation_folds is not None:
            codes[codes == VAL] = TRAIN
        elif self.name == "column" and (without := [name for name in ("train", "val") if SPLITS[name] not in codes]):
            raise DataError(
                f"the split column has no row {without[0]}; pass --validation folds:5, add some, or leave out "
                "--split-column for a split of 80/10/10"
            )
        counts = np.bincount(read.labels[codes == TRAIN], minlength=len(read.classes))
        if absent := [quoted(name) for name, count in zip(read.classes, counts, strict=True) if not count]:
            which, them = ("classes", "have") if len(absent) > 1 else ("class", "has")
            raise DataError(
                f"{which} {listed(absent, 5)} {them} no sentence in train; add some, or leave out the {which}"
            )
        if self.validation_folds is None:
            return codes, None
        places = np.flatnonzero(codes == TRAIN)
        texts = [read.texts[place] for place in places]
        folds = np.full(len(codes), NO_FOLD, dtype=np.uint8)
        labels, seed, of = read.labels[places], self.seed or 0, " outside the test split"
        folds[places] = assign_folds(texts, labels, read.classes, self.validation_folds, seed, of=of)
        return codes, folds

    def _codes(self, read: Dataset) -> Codes:
        if self.name == "column":
            assert read.split is not None
            return read.split.copy()
        if self.name == "notebook":
            return notebook_split(read.texts)
        seed = self.seed or 0
        if self.shares is not None:
            return stratified_split(read.texts, read.labels, read.classes, seed, self.shares)
        return fold_split(read.texts, read.labels, read.classes, self.count or 0, self.fold or 0, seed)
