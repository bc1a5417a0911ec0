"""Small files of sentences, as text and as a table."""

from collections.abc import Callable

from core import Corpus
from core.data.readers import Table

Load = Callable[..., Corpus]


def csv_of(n: int = 40) -> str:
    rows = [f"the {'good' if i % 2 else 'bad'} film number {i},{'pos' if i % 2 else 'neg'}" for i in range(n)]
    return "\n".join(["text,label", *rows]) + "\n"


def table(**columns: list[str | None]) -> Table:
    rows = len(next(iter(columns.values())))
    return Table(name="data.csv", columns=columns, lines=list(range(2, rows + 2)))
