"""Split texts into words: three tokenizers, the choice between them, and each as regular expressions.

`english`      NLTK's `word_tokenize`, and a simple rule for full stops between sentences.
`unicode`      word boundaries of Unicode (UAX 29), for languages with spaces between words.
`characters`   the same, but scripts without spaces are cut into characters; Latin words and numbers stay whole.
"""

import contextlib
import functools
import importlib.util
import random
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.errors import ConfigError, UserError, check_rules
from core.io.text import quoted

TOKENIZERS = ("english", "unicode", "characters")
AUTO = "auto"
"""Value instead of a tokenizer or of word vectors: the choice depends on the letters of the texts."""
_VOWELS = "aeiouyhœæàáâäèéêëìíîïòóôöùúûü"
"""Letters that follow an elided French or Italian article."""
_UNICODE = (
    ("i\u0307", 0, "i"),  # the lower case of the Turkish İ
    (r"[\u200b\ufeff]", 0, " "),
    (r"\u00ad", 0, ""),  # soft hyphen
    (r"[’＇]", 0, "'"),
    (r"\b", "W", " "),  # with the flag WORD: the default word boundaries of UAX 29
    (rf"(?<=\p{{Latin}}')(?<!\baujourd')(?=[{_VOWELS}])", 0, " "),  # l'année -> l' année
)
"""Pattern of the package `regex`, flags and replacement. UAX 29 itself cuts a script without spaces at each character,
except Katakana."""
_CHARACTERS = (*_UNICODE, (r"(?<=[\p{Katakana}ー])(?=\p{Katakana})", 0, " "))
_STEPS = {"unicode": _UNICODE, "characters": _CHARACTERS}
_UNSPACED = r"(?=\p{L})[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_ABBREVIATIONS = (
    "co dr ft jr lt mr ms mt sr st vs",
    "apr aug ave col dec etc feb gen gov hon inc jan jul jun ltd mrs nov oct rev sen sgt",
    "blvd bros capt corp dept prof sept",
    "approx",
)
"""Words that keep their full stop, by length. Those that often end a sentence, such as "no", "sun" or "may", do not."""
_INNER_STOP = re.compile(
    r"\.(?=[\"'”’)\]]*\s)"  # first, because `re` finds a character faster than what precedes it
    # A single letter before it is an initial, and a letter after a full stop belongs to e.g. or U.S.
    r"(?:(?<=\d\.)|(?<=\w['’]\.)|(?<=\w\w\.)|(?<=\w['’]\w\.))"
    + "".join(rf"(?<!\b(?:{words.replace(' ', '|')})\.)" for words in _ABBREVIATIONS)
)
"""A full stop at the end of a sentence that is not the last one of its text."""
_MANY_SPACES = re.compile(" {4,}")
"""Before 3.10.4, NLTK's rule for the last full stop takes quadratic time for spaces. No rule distinguishes three from
more."""
_SAMPLE_TEXTS, _SAMPLE_CHARACTERS = 2000, 500
"""Number of texts on which the choice is based, and number of characters of each."""
MIN_UNSPACED = 0.2
"""Share of letters in scripts without spaces from which `characters` is chosen."""
MIN_OTHER = 0.005
"""Share of letters that are not English from which `unicode` is chosen. It is at most 0.0003 in our English data, 0.02
in German and 0.04 in French."""
MIN_ENGLISH = 0.5
"""Share of English letters below which English word vectors are not used by default: French has 0.94."""

_HARD = (
    "",
    " \t\x1c\u2028 ",
    "It's Mr. O'Neil's (\"the best\"), isn't it?! 'Tis -- can't, wanna go...",
    "``Quoted'' 'words', \"more\"; $3.88, 3:30 a.m. [sic] {x} <y> 50% #tag @you & co. ",
    "«naïve» “curly” ‘single’ … em—dash, en–dash, d'ye gimme lemme gonna gotta more'n 'twas whaddya",
    "\"Quoted\" at the start, ('so' \"and\" so) a*b x--y isn't\t\tit he'll they've. cannot, and so on:",
    "rock 'n' roll's' ",
    "The end.”»",
    "STRASSE Straße İstanbul ǅ ΣΑΣ 再见。 🙂👍🏽 \x00\x1b[31m \ufeff\ufffd e.g. U.S.A.",
    "Boring. (Dull.) 'Can't.' \"In 1999.\"\tMrs. J. K. Fox vs. Mr. T. etc. of the U.S. of A... no. yes.it. ",
)
"""Sentences that contain a case for every step."""


def tokenize(text: str, tokenizer: str) -> list[str]:
    """Return the words of a text, in lower case; [] for blank text.

    `english` splits as NLTK's `word_tokenize(text, preserve_line=True)` does, which needs no download. That function
    takes the text for one sentence, so full stops between sentences are separated before it. It also splits a curly
    apostrophe off, so the apostrophe is made straight. The result depends on the version of NLTK or of `regex`, see
    `tokenizer_version`.
    """
    return _splitter(tokenizer)(_folded(text))


def _folded(text: str) -> str:
    """Return a text in lower case, in which a letter and its accents are one character if there is one (NFC)."""
    return unicodedata.normalize("NFC", text.lower())


_LOADED: dict[str, str] = {}
"""Versions of NLTK and `regex` with which this process splits: one that is installed later is not loaded."""


@functools.cache
def _splitter(tokenizer: str) -> Callable[[str], list[str]]:
    """Return the function that splits a text of `_folded`."""
    package, _, number = tokenizer_version(tokenizer).partition("/")[0].partition("-")
    _LOADED[package] = number
    if tokenizer == "english":
        split: Callable[[str], list[str]] = load_nltk_tokenizer().tokenize
        return lambda text: split(_INNER_STOP.sub(" .", _MANY_SPACES.sub("   ", text.replace("’", "'"))))
    return functools.partial(apply_regexes, _compiled(tokenizer))


def _compiled(tokenizer: str) -> list[tuple[Any, str]]:
    import regex

    flags = {"W": regex.WORD, 0: 0}
    return [(regex.compile(pattern, flags[flag]), new) for pattern, flag, new in _STEPS[tokenizer]]


def tokenizer_version(tokenizer: str) -> str:
    """Return name, version and options of a tokenizer: part of every cache key and every saved model.

    NLTK 3.9.1 and 3.10.4 give different words on MR. The Unicode data are those of `regex`.
    """
    from importlib.metadata import version  # reads one file; importing nltk itself takes over a second

    package = "nltk" if tokenizer == "english" else "regex"
    number = _LOADED.get(package) or version(package)
    options = "word_tokenize/stops/lower/nfc" if package == "nltk" else f"{tokenizer}/lower/nfc/i"
    return f"{package}-{number}/{options}"


def tokenizer_name(version: str) -> str:
    """Return the tokenizer of a `tokenizer_version`.

    Raises:
        ConfigError: This version of sentune has no such tokenizer.
    """
    if not version.startswith("regex-"):
        return "english"
    name = version.split("/")[1] if "/" in version else version
    if name not in _STEPS:
        raise ConfigError(f"unknown tokenizer {quoted(name)}; choose one of {', '.join(TOKENIZERS)}")
    return name


def check_tokenizer(tokenizer: str) -> None:
    """Raise ConfigError unless this is a tokenizer or `auto`."""
    check_rules({"--tokenizer": tokenizer_rule(tokenizer)})


def tokenizer_rule(tokenizer: object) -> tuple[object, str, bool]:
    """Return the rule for `check_rules` that this is a tokenizer or `auto`."""
    choices = (AUTO, *TOKENIZERS)
    return tokenizer, f"one of {', '.join(choices)}", tokenizer in choices


def count_letters(texts: Sequence[str]) -> dict[str, float]:
    """Return the shares of the letters that are `english` (a to z) and `unspaced` (of scripts without spaces).

    At most 2,000 texts are used, drawn at random with a fixed seed. Without letters, the share `english` is 1.
    """
    import regex

    # At random, because evenly spaced ones could all have one language of a file with several in turn.
    step = max(1, -(-len(texts) // _SAMPLE_TEXTS))
    places = random.Random(0).sample(range(len(texts)), -(-len(texts) // step))
    sample = unicodedata.normalize("NFC", "\n".join(texts[place][:_SAMPLE_CHARACTERS] for place in places))
    counts = {
        name: len(regex.findall(pattern, sample))
        for name, pattern in {"all": r"\p{L}", "english": "[A-Za-z]", "unspaced": _UNSPACED}.items()
    }
    total = counts.pop("all")
    return {name: round(count / total, 4) for name, count in counts.items()} if total else {"english": 1, "unspaced": 0}


def choose_tokenizer(letters: Mapping[str, float]) -> str:
    """Return the tokenizer for texts with these letters, see `count_letters`."""
    if letters["unspaced"] >= MIN_UNSPACED:
        return "characters"
    return "unicode" if 1 - letters["english"] >= MIN_OTHER else "english"


def describe_letters(letters: Mapping[str, float]) -> str:
    """Return one clause about the letters of the texts: the reason of a choice."""
    if letters["unspaced"] >= MIN_UNSPACED:
        return f"{letters['unspaced']:.0%} of the letters are of scripts without spaces"
    return f"{letters['english']:.1%} of the letters are a to z"


_HOME = "nltk.tokenize.destructive"
_IMPORT_LOCK = threading.Lock()
"""Another thread must not find the modules that `_import_without_package` adds for a moment."""


def load_nltk_tokenizer() -> Any:
    """Return a new `NLTKWordTokenizer`, with which `nltk.word_tokenize` splits each sentence."""
    with _IMPORT_LOCK:
        if "nltk" not in sys.modules:
            # An NLTK whose modules need what their package sets up raises one of these.
            with contextlib.suppress(ImportError, AttributeError):
                return _import_without_package().NLTKWordTokenizer()
        return importlib.import_module(_HOME).NLTKWordTokenizer()


def _import_without_package() -> Any:
    """Import the module without running its packages, and return it. A later `import nltk` is not affected."""
    try:
        for name in ("nltk", "nltk.tokenize"):
            spec = importlib.util.find_spec(name)
            if spec is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            sys.modules[name] = importlib.util.module_from_spec(spec)
        return importlib.import_module(_HOME)
    finally:
        loaded = list(sys.modules)  # a copy, because another thread may import Ray meanwhile
        for name in loaded:
            if name.split(".")[0] == "nltk":
                del sys.modules[name]


def tokenizer_as_regexes(words: Sequence[str], tokenizer: str) -> dict[str, Any]:
    """Return regular expressions and their replacements, to be applied in order to the text in lower case and NFC.

    Afterwards the text is split at white space.

    Args:
        words: Words of a vocabulary. The rule is tested on them and on sentences with a case for every step.
        tokenizer: Name of the tokenizer.

    Returns:
        For JSON: `name`, and `steps`, each [engine, pattern, flags, replacement], where the engine is the
        module that compiles the pattern: Python's `re`, or the package `regex`.

    Raises:
        UserError: The installed NLTK does not split as its tables define.
    """
    steps = _nltk_as_regexes() if tokenizer == "english" else _compiled(tokenizer)
    lines = [" ".join(words[start : start + 50]) for start in range(0, len(words), 50)]
    for text in (*_HARD, *lines):
        if apply_regexes(steps, _folded(text)) != tokenize(text, tokenizer):
            raise UserError(
                f"the rules of {tokenizer_version(tokenizer)} cannot be exported: it splits {quoted(text)} in "
                "another way; install the NLTK version that the model card names"
            )
    return {
        "name": tokenizer_version(tokenizer),
        "steps": [
            ["re" if isinstance(pattern, re.Pattern) else "regex", pattern.pattern, int(pattern.flags), new]
            for pattern, new in steps
        ],
    }


def _nltk_as_regexes() -> list[tuple[Any, str]]:
    tables = load_nltk_tokenizer()
    return [
        (re.compile("’"), "'"),
        (_MANY_SPACES, "   "),
        (_INNER_STOP, " ."),
        *tables.STARTING_QUOTES,
        *tables.PUNCTUATION,
        tables.PARENS_BRACKETS,
        tables.DOUBLE_DASHES,
        (re.compile(r"\A|\Z"), " "),
        *tables.ENDING_QUOTES,
        *((pattern, r" \1 \2 ") for pattern in (*tables.CONTRACTIONS2, *tables.CONTRACTIONS3)),
    ]


def apply_regexes(steps: Sequence[tuple[Any, str]], text: str) -> list[str]:
    """Return the words of a text, in lower case and NFC, by compiled patterns and their replacements."""
    for pattern, new in steps:
        text = pattern.sub(new, text)
    return text.split()
