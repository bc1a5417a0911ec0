"""What `predict` reads and writes: sentences as arguments, lines or a table's column; text, JSON lines or CSV."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.data.columns import read_texts, require_column
from core.data.datasets import encoding_of
from core.data.readers import FORMATS, Table, format_of, read_table
from core.errors import ConfigError, DataError
from core.io import cache
from core.io.atomic import atomic_write
from core.io.encodings import normalize_encoding
from core.io.text import Notify, printable, quoted

if TYPE_CHECKING:
    from core.inference.predictor import Prediction, Predictor


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictRequest:
    """What the person asked for.

    Raises:
        ConfigError: options do not go together.
    """

    texts: Sequence[str] = ()
    """Sentences that stand on the command line."""
    file: str | None = None
    """One sentence a line, or with `text_column` a table; - is standard input."""
    text_column: str | None = None
    encoding: str | None = None
    """Of `file`; None for UTF-8 in lines and for what is detected in a table."""
    json: bool = False
    """JSON lines instead of text."""
    probabilities: bool = False
    """Of every class, not of the label alone."""
    out: Path | None = None
    """None for standard output."""

    def __post_init__(self) -> None:
        problems = []
        if bool(self.texts) == bool(self.file):
            problems.append("give sentences, or --file with one sentence a line (- for standard input)")
        if self.text_column is not None:
            if self.file is None or format_of(Path(self.file)) is None:
                endings = ", ".join(f".{kind}" for kind in FORMATS)
                problems.append(f"--text-column goes with --file and a file ending in {endings} (.gz too)")
            if self.json:
                problems.append("--format json goes without --text-column, which writes CSV")
        if self.encoding is not None and self.file is None:
            problems.append("--encoding goes with --file")
        if self.out is not None and self.out.is_dir():
            problems.append(f"--out must be a file, {self.out} is a folder")
        if problems:
            raise ConfigError("; ".join(problems))


def predict_texts(request: PredictRequest, load: Callable[[], "Predictor"], notify: Notify) -> None:
    """Read, label, write; nothing is written before everything is labelled.

    Args:
        request: what the person asked for.
        load: opens the model, once the sentences could be read.
        notify: told what is out of order with a file.

    Raises:
        ConfigError: a file cannot be read.
        DataError: a table cannot be used as it is, or a text is too long.
        UserError: the model cannot be used, or `out` cannot be written.
    """
    if request.text_column is not None:
        path = Path(request.file or "")
        table = read_table(path, encoding_of(path, request.encoding, cache.default_dir(), notify))
        require_column(table, request.text_column, "--text-column")
        answer = format_csv(table, request.text_column, load(), request.probabilities)
    else:
        texts = request.texts or read_lines(request.file or "-", request.encoding, notify)
        answer = format_lines(texts, load().predict(texts), request)
    if request.out is None:
        _print(answer)
    else:
        # A text may hold half a surrogate pair, which UTF-8 cannot: JSON and `printable` escape it, tables refuse it.
        atomic_write(request.out, answer.encode())


def read_lines(file: str, encoding: str | None, notify: Notify) -> list[str]:
    """One sentence a line, empty ones too, so that line n of the answer is about line n of the file.

    What is not of the encoding is read as U+FFFD, and said once with its line.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read --file {file}: {error.strerror}") from error
    name = normalize_encoding(encoding) if encoding else "utf-8"
    try:
        text = data.decode(name)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        notify(f"--file {printable(file)}, line {line}: is not {name}; such bytes are read as \ufffd (see --encoding)")
        text = data.decode(name, errors="replace")
    # Not splitlines, which also ends a line at a form feed and at Unicode's own separators.
    return [line.removesuffix("\n") for line in io.StringIO(text.removeprefix("\ufeff"), newline=None)]


def format_lines(texts: Sequence[str], predictions: Sequence["Prediction"], request: PredictRequest) -> str:
    """Return a line for each text, as `request.json` and `request.probabilities` say.

    Text has tabs between label, its probability, CLASS=PROBABILITY of each class, and text. JSON is an object in ASCII
    with `text`, `label`, `probability`, and `probabilities` by class.
    """
    lines = []
    for text, guess in zip(texts, predictions, strict=True):
        shares = guess.probabilities if request.probabilities else {}
        if request.json:
            row = {"text": text, "label": guess.label, "probability": guess.probability}
            lines.append(json.dumps(row | ({"probabilities": shares} if request.probabilities else {})))
        else:
            every = [f"{printable(name)}={share:.4f}" for name, share in shares.items()]
            lines.append("\t".join([printable(guess.label), f"{guess.probability:.4f}", *every, printable(text)]))
    return "".join(f"{line}\n" for line in lines)


def format_csv(table: Table, column: str, model: "Predictor", probabilities: bool) -> str:
    """The table as it was, with `predicted_label`, `predicted_probability` and `probability_CLASS` added.

    Raises:
        DataError: the table has such a column, a row has no text, or one too long.
    """
    added = ["predicted_label", "predicted_probability"]
    if probabilities:
        added += [f"probability_{name}" for name in model.classes]
    if taken := [name for name in added if name in table.columns]:
        raise DataError(f"{table.name}: has a column {quoted(taken[0])}, which would be added; rename it")
    guesses = model.predict(read_texts(table, column))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*table.columns, *added])
    for cells, guess in zip(zip(*table.columns.values(), strict=True), guesses, strict=True):
        every = guess.probabilities.values() if probabilities else ()
        writer.writerow([*cells, guess.label, guess.probability, *every])
    return file.getvalue()


def _print(answer: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for characters that the terminal's encoding lacks
    try:
        sys.stdout.write(answer)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
