"""Tokenise as NLTK does, and export the tokenizer as regular expressions for programs without NLTK."""

import contextlib
import functools
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from core.errors import UserError
from core.io.text import quoted

_HARD = (
    "",
    " \t\x1c\u2028 ",
    "It's Mr. O'Neil's (\"the best\"), isn't it?! 'Tis -- can't, wanna go...",
    "``Quoted'' 'words', \"more\"; $3.88, 3:30 a.m. [sic] {x} <y> 50% #tag @you & co. ",
    "«naïve» “curly” ‘single’ … em—dash, en–dash, d'ye gimme lemme gonna gotta more'n 'twas whaddya",
    "\"Quoted\" at the start, ('so' \"and\" so) a*b x--y isn't\t\tit he'll they've. cannot, and so on:",
    "rock 'n' roll's' ",
    "The end.” »",
    "STRASSE Straße İstanbul ǅ ΣΑΣ 再见。 🙂👍🏽 \x00\x1b[31m \ufeff\ufffd e.g. U.S.A.",
)
"""Sentences with a case for every step."""


def tokenize(text: str) -> list[str]:
    """Lowercase, then split as NLTK's `word_tokenize(text, preserve_line=True)` does: the notebook's tokens.

    With `preserve_line` no sentence splitter runs, so nothing has to be downloaded. Returns [] for blank text.
    The result depends on NLTK's version, see `tokenizer_version`.
    """
    return _word_tokenize()(text.lower())


@functools.cache
def _word_tokenize() -> Callable[[str], list[str]]:
    split: Callable[[str], list[str]] = load_nltk_tokenizer().tokenize
    return split


def tokenizer_version() -> str:
    """Name, version and options of the tokenizer: part of every cache key and every saved model.

    NLTK 3.9.1 gives 20,279 distinct words on MR, 3.10.4 gives 20,053.
    """
    from importlib.metadata import version  # reads one file; importing nltk itself takes over a second

    return f"nltk-{version('nltk')}/word_tokenize/lower"


_HOME = "nltk.tokenize.destructive"


def load_nltk_tokenizer() -> Any:
    """A new `NLTKWordTokenizer`: what `nltk.word_tokenize` splits each sentence with."""
    if "nltk" not in sys.modules:
        # An NLTK whose modules need what their package sets up raises one of these.
        with contextlib.suppress(ImportError, AttributeError):
            return _import_without_package().NLTKWordTokenizer()
    return importlib.import_module(_HOME).NLTKWordTokenizer()


def _import_without_package() -> Any:
    """The module, imported without running its packages; afterwards `import nltk` does what it always does."""
    try:
        for name in ("nltk", "nltk.tokenize"):
            spec = importlib.util.find_spec(name)
            if spec is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            sys.modules[name] = importlib.util.module_from_spec(spec)
        return importlib.import_module(_HOME)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "nltk"]:
            del sys.modules[name]


def tokenizer_as_regexes(words: Sequence[str]) -> dict[str, Any]:
    """Regular expressions and their replacements, to be applied in order to the lowercased text.

    Afterwards the text is split at white space.

    Args:
        words: of a vocabulary; on them, as on sentences with a case for every step, the written rule is tried.

    Returns:
        As JSON can hold it: `name`, and `steps`, each [engine, pattern, flags, replacement], where the engine is the
        module that compiles the pattern: Python's `re`, or the package `regex`.

    Raises:
        UserError: the installed NLTK does something else than its tables say.
    """
    tables = load_nltk_tokenizer()
    steps = [
        *tables.STARTING_QUOTES,
        *tables.PUNCTUATION,
        tables.PARENS_BRACKETS,
        tables.DOUBLE_DASHES,
        (re.compile(r"\A|\Z"), " "),
        *tables.ENDING_QUOTES,
        *((pattern, r" \1 \2 ") for pattern in (*tables.CONTRACTIONS2, *tables.CONTRACTIONS3)),
    ]
    lines = [" ".join(words[start : start + 50]) for start in range(0, len(words), 50)]
    for text in (*_HARD, *lines):
        if apply_regexes(steps, text) != tokenize(text):
            raise UserError(
                f"the rule of {tokenizer_version()} cannot be written down: it splits {quoted(text)} in another way; "
                "install the NLTK that the model's card names"
            )
    return {
        "name": tokenizer_version(),
        "steps": [
            ["re" if isinstance(pattern, re.Pattern) else "regex", pattern.pattern, int(pattern.flags), new]
            for pattern, new in steps
        ],
    }


def apply_regexes(steps: Sequence[tuple[Any, str]], text: str) -> list[str]:
    """Tokens of `text` by compiled patterns and their replacements."""
    text = text.lower()
    for pattern, new in steps:
        text = pattern.sub(new, text)
    return text.split()
