"""The verb `predict`: label sentences of the command line, of a file or a pipe of any length, or of a table."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core.data.columns import require_column
from core.data.datasets import encoding_of
from core.data.readers import ROWS_AT_ONCE, Table, read_table_in_parts
from core.errors import ConfigError
from core.io import cache
from core.io.text import Notify, printable, quoted
from tuning.console import for_terminal
from tuning.serving.inputs import TextBatch, line_batches, table_batch
from tuning.serving.options import PredictOptions
from tuning.serving.outputs import csv_header, format_csv, format_lines, open_output

if TYPE_CHECKING:
    from core.inference.predictor import Predictor

FEW_KNOWN = 0.5
"""Share of unknown words from which a label is unreliable."""


def predict_texts(load: Callable[[], "Predictor"], notify: Notify, options: PredictOptions) -> None:
    """Read, label and write the texts in parts, so that a file or a pipe of any length needs little memory.

    Args:
        load: Called to open the model once the first texts have been read.
        notify: Called with lines about irregular data, and with the threshold that `abstention` determines.
        options: Texts to label, and form of the output.

    Raises:
        ConfigError: The model's text column is not in the table, or Python does not know the encoding.
        DataError: A file cannot be read or used, or a text is too long.
        UserError: The model cannot be used, `--at-accuracy` is not reached, or `out` cannot be written.
    """
    source: Iterator[TextBatch | Table] = _read(options, notify)
    first = list(itertools.islice(source, 1))
    if first and isinstance(first[0], Table) and options.text_column is not None:
        require_column(first[0], options.text_column, "--text-column")  # before the model is loaded
    model = load()
    threshold = options.abstention.threshold(model.coverage, notify)
    column, header = options.text_column, list[str]()
    if first and isinstance(first[0], Table):
        if column is None:
            column = _column_of(model, first[0], notify)
        if not options.as_json:
            header = csv_header(first[0], model.classes if options.probabilities else ())
            if left_out := first[0].unsupported_columns:
                columns = ", ".join(f"{quoted(name)} ({printable(kind, 40)})" for name, kind in left_out.items())
                notify(
                    f"the output lacks the columns {columns}: CSV is written of texts, numbers and truth values only"
                )
    n_texts = n_unknown = 0
    with open_output(options.out) as write:
        for part in itertools.chain(first, source):
            batch = table_batch(part, column or "") if isinstance(part, Table) else part
            predictions = model.predict(batch.texts, threshold, batch.location)
            n_texts += len(predictions)
            guesses = zip(batch.texts, predictions, strict=True)
            n_unknown += sum(guess.unknown_words >= FEW_KNOWN for text, guess in guesses if text.strip())
            shown = {"probabilities": options.probabilities}
            if isinstance(part, Table) and not options.as_json:
                text = format_csv(header, part, predictions, **shown)
                text = for_terminal(text) if options.out is None else text
                header = []
            else:
                text = format_lines(batch.texts, predictions, as_json=options.as_json, **shown)
            write(text)
    if n_unknown:
        notify(
            f"the model does not know half of the words or more in {n_unknown:,} of {n_texts:,} texts; their labels "
            "are unreliable"
        )


def _read(options: PredictOptions, notify: Notify) -> Iterator[TextBatch | Table]:
    """Yield the texts, or the rows of a table, in parts."""
    if options.texts:
        for start in range(0, len(options.texts), ROWS_AT_ONCE):
            part = list(options.texts[start : start + ROWS_AT_ONCE])
            yield TextBatch(texts=part, source="text", numbers=range(start + 1, start + 1 + len(part)))
    elif options.is_table:
        path = Path(options.file or "")
        yield from read_table_in_parts(path, encoding_of(path, options.encoding, cache.default_dir(), notify))
    else:
        yield from line_batches(options.file or "-", options.encoding, notify)


def _column_of(model: "Predictor", table: Table, notify: Notify) -> str:
    """Return the column that the model was trained on."""
    column = model.text_column
    if column is None or column not in (*table.columns, *table.unsupported_columns):
        names = ", ".join(quoted(name) for name in table.columns)
        trained = "" if column is None else f"; the model was trained on {quoted(column)}"
        raise ConfigError(f"{table.name}: pass --text-column with one of {names}{trained}")
    require_column(table, column, "--text-column")
    notify(f"reading column {quoted(column)}, as in the training data (--text-column chooses another)")
    return column
