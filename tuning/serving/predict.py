"""What `predict` reads and writes: sentences as arguments, lines or a table's column; text, JSON lines or CSV."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
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
from tuning.serving.abstention import ALWAYS_ANSWER, Abstention

if TYPE_CHECKING:
    from core.inference.predictor import Prediction, Predictor

FEW_KNOWN = 0.5
"""Share of unknown words from which on a label means little."""
NO_ANSWER = "-"
"""In text, in place of a label whose probability is too low."""


def predict_texts(
    load: Callable[[], "Predictor"],
    notify: Notify,
    *,
    texts: Sequence[str] = (),
    file: str | None = None,
    text_column: str | None = None,
    encoding: str | None = None,
    as_json: bool = False,
    probabilities: bool = False,
    abstention: Abstention = ALWAYS_ANSWER,
    out: Path | None = None,
) -> None:
    """Read, label, write; nothing is written before everything is labelled.

    Args:
        load: opens the model, once the sentences could be read.
        notify: called with what is irregular in a file, and with the threshold that `abstention` determines.
        texts: sentences from the command line.
        file: one sentence per line, or a table; - is standard input.
        text_column: name of the table's column; None for the one that the model was trained on.
        encoding: of `file`; None for UTF-8 in lines, and for what is detected in a table.
        as_json: JSON lines instead of text or CSV.
        probabilities: of every class, not of the label alone.
        abstention: when a sentence gets no label.
        out: None for standard output.

    Raises:
        ConfigError: options do not go together, or a file cannot be read.
        DataError: a table cannot be used as it is, or a text is too long.
        UserError: the model cannot be used, or `out` cannot be written.
    """
    path = None if file is None else Path(file)
    endings = ", ".join(f".{kind}" for kind in FORMATS)
    rules = {
        "give sentences, or --file with one sentence a line (- for standard input)": bool(texts) != bool(file),
        f"--text-column goes with --file and a file ending in {endings} (.gz too)": text_column is None
        or (path is not None and format_of(path) is not None),
        "--encoding goes with --file": encoding is None or path is not None,
        f"--out must be a file, {out} is a folder": out is None or not out.is_dir(),
    }
    if problems := [problem for problem, holds in rules.items() if not holds]:
        raise ConfigError("; ".join(problems))
    table = None
    if path is not None and format_of(path) is not None:
        table = _read_table(path, text_column, encoding, notify)
    elif not texts:
        texts = read_lines(file or "-", encoding, notify)
    model = load()
    if table is not None:
        texts = read_texts(table, text_column or _column_of(model, table, notify))
    predictions = model.predict(texts, abstention.threshold(model.coverage, notify))
    if unknown := sum(each.unknown_words >= FEW_KNOWN for each in predictions):
        notify(
            f"the model does not know half of the words or more in {unknown:,} of {len(texts):,} texts: such labels "
            "mean little"
        )
    if table is not None and not as_json:
        answer = format_csv(table, model.classes, predictions, probabilities=probabilities)
    else:
        answer = format_lines(texts, predictions, as_json=as_json, probabilities=probabilities)
    if out is None:
        _print(answer)
    else:
        # A text may hold half a surrogate pair, which UTF-8 cannot: JSON and `printable` escape it, tables refuse it.
        atomic_write(out, answer.encode())


def read_sentences(
    file: str, text_column: str | None, encoding: str | None, notify: Notify, option: str = "--file"
) -> list[str]:
    """Return the sentences of a file: its lines, as `read_lines`, or with `text_column` the cells of a table.

    Raises:
        ConfigError: the file cannot be read, or a text column is given and it is no table.
        DataError: the table cannot be used as it is.
    """
    if text_column is None:
        return read_lines(file, encoding, notify, option)
    if format_of(Path(file)) is None:
        endings = ", ".join(f".{kind}" for kind in FORMATS)
        raise ConfigError(f"--text-column goes with a file ending in {endings} (.gz too), got {option} {file}")
    return read_texts(_read_table(Path(file), text_column, encoding, notify), text_column)


def _read_table(path: Path, text_column: str | None, encoding: str | None, notify: Notify) -> Table:
    table = read_table(path, encoding_of(path, encoding, cache.default_dir(), notify))
    if text_column is not None:
        require_column(table, text_column, "--text-column")
    return table


def _column_of(model: "Predictor", table: Table, notify: Notify) -> str:
    """Return the column that the model was trained on."""
    column = model.text_column
    if column is None or column not in table.columns:
        names = ", ".join(quoted(name) for name in table.columns)
        trained = "" if column is None else f"; the model was trained on {quoted(column)}"
        raise ConfigError(f"{table.name}: pass --text-column with one of {names}{trained}")
    notify(f"the texts are those of column {quoted(column)}, on which the model was trained (--text-column chooses)")
    return column


def read_lines(file: str, encoding: str | None, notify: Notify, option: str = "--file") -> list[str]:
    """One sentence a line, empty ones too, so that line n of the answer is about line n of the file.

    What is not of the encoding is read as U+FFFD, and said once with its line.

    Raises:
        ConfigError: the file cannot be read; the message names the option.
    """
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {option} {file}: {error.strerror}") from error
    name = normalize_encoding(encoding) if encoding else "utf-8"
    try:
        text = data.decode(name)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        notify(
            f"{option} {printable(file)}, line {line}: is not {name}; such bytes are read as \ufffd (see --encoding)"
        )
        text = data.decode(name, errors="replace")
    # Not splitlines, which also ends a line at a form feed and at Unicode's own separators.
    return [line.removesuffix("\n") for line in io.StringIO(text.removeprefix("\ufeff"), newline=None)]


def format_lines(
    texts: Sequence[str], predictions: Sequence["Prediction"], *, as_json: bool, probabilities: bool
) -> str:
    """Return a line for each text, with the probabilities of all classes if `probabilities` is true.

    Text has tabs between label (or NO_ANSWER), its probability, CLASS=PROBABILITY of each class, and text. JSON is an
    object in ASCII with `text`, `label`, `probability`, `unknown_words`, and `probabilities` by class.
    """
    lines = []
    for text, guess in zip(texts, predictions, strict=True):
        shares = guess.probabilities if probabilities else {}
        if as_json:
            row = {"text": text, "label": guess.label, "probability": guess.probability}
            row["unknown_words"] = guess.unknown_words
            lines.append(json.dumps(row | ({"probabilities": shares} if probabilities else {})))
        else:
            every = [f"{printable(name)}={share:.4f}" for name, share in shares.items()]
            label = NO_ANSWER if guess.label is None else printable(guess.label)
            lines.append("\t".join([label, f"{guess.probability:.4f}", *every, printable(text)]))
    return "".join(f"{line}\n" for line in lines)


def format_csv(
    table: Table, classes: Sequence[str], predictions: Sequence["Prediction"], *, probabilities: bool
) -> str:
    """Return the table with `predicted_label`, `predicted_probability`, `unknown_words` and `probability_CLASS` added.

    A label is empty if there is no answer.

    Raises:
        DataError: the table has such a column.
    """
    added = ["predicted_label", "predicted_probability", "unknown_words"]
    if probabilities:
        added += [f"probability_{name}" for name in classes]
    if taken := [name for name in added if name in table.columns]:
        raise DataError(f"{table.name}: has a column {quoted(taken[0])}, which would be added; rename it")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*table.columns, *added])
    for cells, guess in zip(zip(*table.columns.values(), strict=True), predictions, strict=True):
        every = guess.probabilities.values() if probabilities else ()
        writer.writerow([*cells, guess.label, guess.probability, guess.unknown_words, *every])
    return file.getvalue()


def _print(answer: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for characters that the terminal's encoding lacks
    try:
        sys.stdout.write(answer)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
