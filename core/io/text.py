"""Text to tokens, tokens to word ids, and text made safe to show or to compare."""

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from core.errors import DataError

PAD, UNK = "<pad>", "<unk>"
UNK_ID = 1
Notify = Callable[[str], None]
"""Told one line about what is going on."""


def tokenize(text: str) -> list[str]:
    """Lowercase, then split as NLTK's `word_tokenize(text, preserve_line=True)` does: the notebook's tokens.

    With `preserve_line` no sentence splitter runs, so nothing has to be downloaded. Returns [] for blank text.
    The result depends on NLTK's version, see `tokenizer_version`.
    """
    return _word_tokenize()(text.lower())


@functools.cache
def _word_tokenize() -> Callable[[str], list[str]]:
    from core.data.nltk_words import word_tokenizer  # for verbs that meet text only

    split: Callable[[str], list[str]] = word_tokenizer().tokenize
    return split


def tokenizer_version() -> str:
    """Name, version and options of the tokenizer: part of every cache key and every saved model.

    NLTK 3.9.1 gives 20,279 distinct words on MR, 3.10.4 gives 20,053.
    """
    from importlib.metadata import version  # reads one file; importing nltk itself takes over a second

    return f"nltk-{version('nltk')}/word_tokenize/lower"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that a model knows; a word's id is its place.

    Raises:
        DataError: the first two words are not `<pad>` and `<unk>`, or a word occurs twice.
    """

    words: tuple[str, ...]
    """(V,) words[0] is `<pad>`, words[1] is `<unk>`."""
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.words[:2] != (PAD, UNK):
            raise DataError(f"a vocabulary must begin with {PAD} and {UNK}, got {self.words[:2]!r}")
        ids = {word: place for place, word in enumerate(self.words)}
        if len(ids) != len(self.words):
            twice = next(word for place, word in enumerate(self.words) if ids[word] != place)
            raise DataError(f"a vocabulary must not hold a word twice, got {twice!r} again")
        # A sentence that spells out `<pad>` is an unknown word: 0 stands for "nothing here" only.
        ids[PAD] = UNK_ID
        object.__setattr__(self, "_ids", ids)

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]]) -> Self:
        """The words of `sentences` in order of first appearance, after `<pad>` and `<unk>`."""
        words = dict.fromkeys((PAD, UNK))
        for sentence in sentences:
            words.update(dict.fromkeys(sentence))
        return cls(tuple(words))

    def encode(self, tokens: Sequence[str]) -> list[int]:
        """Word ids, each in 1..V - 1: unknown words are 1, and an empty sentence is [1], so none has length 0."""
        get = self._ids.get
        return [get(token, UNK_ID) for token in tokens] or [UNK_ID]

    def __len__(self) -> int:
        return len(self.words)


class _Dropping(dict[int, int | None]):
    """For `str.translate`: drops punctuation, spaces and control characters, looked up once each.

    Unicode 3.2 is in every Python, so two Python versions agree about every text. Characters that are newer
    (emoji, for one) count as content and stay.
    """

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.ucd_3_2_0.category(chr(code))
        self[code] = None if category[0] in "PZ" or category in ("Cc", "Cf") else code
        return self[code]


_DROPPING = _Dropping()


def normalise(text: str) -> str:
    """What decides whether two texts are the same: lowercase, without punctuation and space.

    A text of nothing else, such as ":)", keeps what it has, so that it does not equal ":(".
    """
    lowered = text.lower()
    return lowered.translate(_DROPPING) or lowered.strip()


def printable(text: str, limit: int | None = None) -> str:
    r"""`text` on one line that cannot steer a terminal: control, format and bidi characters become escapes.

    "a\x1b[31m\u202eb" becomes r"a\x1b[31m\u202eb". Longer than `limit` characters, it is cut and ends in "...".
    """
    if limit is not None and len(text) > limit:
        text = text[: max(limit - 3, 0)] + "..."
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _shows(char) else _escape(char) for char in text)


def quoted(text: str, limit: int | None = 40) -> str:
    """`printable`, between quotes, as an error shows a value."""
    return f"'{printable(text, limit)}'"


def _shows(char: str) -> bool:
    return char == " " or unicodedata.category(char)[0] not in "CZ"


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(error: BaseException, most: int = 300) -> str:
    """An error's message in one line of at most so many characters; its type where it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[: most - 3]}..."


def concealed(text: str) -> str:
    """Text without what may be secret in the URIs in it: user, password, and all options.

    `s3://KEY:SECRET@bucket/folder?session_token=x` -> `s3://bucket/folder`. A password may hold slashes and more of
    those signs, so of a path with a colon before an `@` too much goes.
    """
    return re.sub(r"://(?:[^\s@:'\"]*:[^\s'\"]*|[^\s@/'\"]*)@|(?<=\w)\?[^\s'\"]*=[^\s'\"]*", _scheme_only, text)


def _scheme_only(found: re.Match[str]) -> str:
    return "://" if found[0].startswith("://") else ""
