"""A small file of sentences as text."""

from collections.abc import Callable

from core import Corpus

Load = Callable[..., Corpus]


def csv_of(n: int = 40) -> str:
    rows = [f"the {'good' if i % 2 else 'bad'} film number {i},{'pos' if i % 2 else 'neg'}" for i in range(n)]
    return "\n".join(["text,label", *rows]) + "\n"
