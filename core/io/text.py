"""Make text from outside safe to show: escape control characters, shorten, and redact secrets."""

import contextlib
import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

Notify = Callable[[str], None]
"""Called with one line of progress or a warning for the user."""
MAX_MESSAGE = 1500
"""Number of characters of a message from which its middle is left out."""


def printable(text: str, limit: int | None = None) -> str:
    r"""Return `text` on one line that cannot control a terminal: control, format and bidi characters become escapes.

    The two characters that join and separate letters, as in Persian and in emoji, stay, and so does the Japanese space.
    "a\x1b[31m\u202eb" becomes r"a\x1b[31m\u202eb". Longer than `limit` characters, it is cut and ends in "...".
    """
    if limit is not None and len(text) > limit:
        text = text[: max(limit - 3, 0)] + "..."
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char
        if char in " \u3000\u200c\u200d" or unicodedata.category(char)[0] not in "CZ"
        else char.encode("unicode_escape").decode()
        for char in text
    )


def quoted(text: str, limit: int | None = 40) -> str:
    """Return `printable` text between quotes, as an error shows a value."""
    return f"'{printable(text, limit)}'"


def escape_markdown(value: Any) -> str:
    """Return a value as Markdown text on one line of at most 500 characters, without markup, links and HTML."""
    text = html.escape(printable(str(value), limit=500), quote=False)
    return re.sub(r"[\\`*_\[\]|~#@]|:(?=//)|(?<=www)[.]|^[-+](?= )", r"\\\g<0>", text)


def listed(names: Sequence[str], most: int) -> str:
    """Return the first `most` names with commas, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def one_line(message: str) -> str:
    """Return a message as `printable` text; a longer one than MAX_MESSAGE characters loses its middle.

    A path may have 4,096 characters, and a value that a message quotes any number.
    """
    text = printable(message)
    half = MAX_MESSAGE // 2
    return text if len(text) <= MAX_MESSAGE else f"{text[:half]} ... {text[-half:]}"


def error_summary(error: BaseException, most: int = 300) -> str:
    """Return an error's message in one line of at most `most` characters; its type if it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[: most - 3]}..."


def redact_uris(text: str) -> str:
    """Return text without user, password and options of the URIs in it, which may be secret.

    `s3://KEY:SECRET@bucket/folder?session_token=x` -> `s3://bucket/folder`. A password may contain slashes and `@`, so
    too much is removed from a path with a colon before an `@`.
    """
    return re.sub(r"(://)(?:[^\s@:'\"]*:[^\s'\"]*|[^\s@/'\"]*)@|(?<=[^\s'\"])\?[^\s'\"]*=[^\s'\"]*", r"\1", text)


def without_folders(command: str) -> str:
    """Return a command in which each path is its last part only: folders name users and machines.

    `sentune run ../data/tickets.csv` -> `sentune run tickets.csv`. URIs and shares such as 80/10/10 stay. A path with
    spaces must be quoted.
    """
    quotes = re.compile(r"""((?<!\w)'[^']*'|"[^"]*")""")  # "the study's" begins none
    folders = re.compile(r"(?<![^\s=(,])(?![a-z][a-z0-9+]*://|[\d/]+(?![^\s),]))[^\s=(,]*/(?=[^/\s])")
    parts = quotes.split(command)  # every second one is quoted
    return "".join(_quoted_last_part(part) if at % 2 else folders.sub("", part) for at, part in enumerate(parts))


def _quoted_last_part(part: str) -> str:
    quote, content = part[0], part[1:-1]
    option, equals, value = content.partition("=") if content.startswith("-") else ("", "", content)
    if "://" not in value and not re.fullmatch(r"[\d/]+", value):
        value = re.sub(r".*/(?=[^/])", "", value, flags=re.DOTALL)
    return f"{quote}{option}{equals}{value}{quote}"


def last_part(value: Any) -> Any:
    """Return the last part of an absolute path, or of `mr:PATH`: folders may name its author. Other values stay."""
    has_folders = isinstance(value, str) and value.removeprefix("mr:").startswith("/")
    return PurePath(value).name if has_folders else value


def similar_labels(names: Sequence[str]) -> list[str]:
    """Return pairs of labels that differ only in spaces, case, invisible characters, or the form of a number."""
    forms: dict[str | float, str] = {}
    pairs = []
    for name in names:
        seen = (c for c in unicodedata.normalize("NFKC", name) if not c.isspace() and unicodedata.category(c) != "Cf")
        form: str | float = "".join(seen).casefold()
        with contextlib.suppress(ValueError):
            form = form if form == "nan" else float(form)  # as a number, NaN equals nothing
        if form in forms:
            pairs.append(f"{quoted(forms[form])} and {quoted(name)}")
        forms.setdefault(form, name)
    return pairs
