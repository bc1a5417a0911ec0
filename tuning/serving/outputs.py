"""Output of `predict`: text, JSON lines or CSV, to standard output or to a file that appears at the end."""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.data.probability_columns import PREDICTED
from core.data.readers import Table
from core.errors import DataError
from core.io.atomic import atomic_file, file_mode, is_mount_point
from core.io.text import printable, quoted
from tuning.formatting import csv_text
from tuning.journal.folder import is_in_study

if TYPE_CHECKING:
    from core.inference.predictor import Prediction


def output_problem(out: Path, file: Path | None, model: Path) -> str | None:
    """Return the reason why `out` must not be written; None if it may be written.

    Args:
        out: The output file.
        file: The input file.
        model: The model folder, none of whose files is replaced.
    """
    target, folder = Path(os.path.realpath(out)), Path(os.path.realpath(model))
    kind = file_mode(target)
    if stat.S_ISDIR(kind):
        return f"--out must be a file, {out} is a folder"
    if kind and not stat.S_ISREG(kind):
        return f"--out must be a regular file, {out} is a device, a pipe or a socket"
    if kind and is_mount_point(target):
        return f"--out must be no mount point, {out} is one; choose a file in a mounted folder"
    if not stat.S_ISDIR(file_mode(target.parent)):
        return f"--out must be in a folder that exists, there is no {out.parent}"
    if file is not None and _is_same(target, file):
        return f"--out must be another file than --file, {out} is the same one"
    if stat.S_ISDIR(file_mode(folder)) and (
        target.is_relative_to(folder) or any(_is_same(target, each) for each in folder.iterdir())
    ):
        return f"--out must be outside the model folder, {out} is in {model}"
    if is_in_study(target):
        return f"--out must be outside the folder of a study, {out} is in one"
    return None


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist
        return False


@contextlib.contextmanager
def open_output(out: Path | None) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes a part of the output.

    Args:
        out: The file, which appears when the block has succeeded; None for standard output, to which each part is
            written at once.

    Raises:
        UserError: The file cannot be written.
    """
    if out is None:
        yield lambda text: print(text, end="", flush=True)
        return
    with atomic_file(out) as file:
        # UTF-8 cannot encode half a surrogate pair, which the name of a class may have.
        yield lambda text: file.write(text.encode(errors="backslashreplace"))


def format_lines(
    texts: Sequence[str], predictions: Sequence["Prediction"], *, as_json: bool, probabilities: bool
) -> str:
    """Return a line for each text, with the probabilities of all classes if `probabilities` is true.

    Text has tabs between label (empty if there is no answer), its probability, CLASS=PROBABILITY of each class, and
    text. JSON is an object in ASCII with `text`, `label`, `probability`, `unknown_words`, and `probabilities` by class.
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
            lines.append("\t".join([printable(guess.label or ""), f"{guess.probability:.4f}", *every, printable(text)]))
    return "".join(f"{line}\n" for line in lines)


def csv_header(table: Table, classes: Sequence[str]) -> list[str]:
    """Return the table's columns, `predicted_label`, `predicted_probability`, `unknown_words` and `probability_CLASS`.

    Args:
        table: The table, or a part of it.
        classes: Classes whose probabilities are added.

    Raises:
        DataError: The table has such a column.
    """
    added = [*PREDICTED, *(f"probability_{name}" for name in classes)]
    if taken := [name for name in added if name in table.columns]:
        raise DataError(f"{table.name}: has a column {quoted(taken[0])}, which predict adds; rename it")
    return [*table.columns, *added]


def format_csv(header: Sequence[str], table: Table, predictions: Sequence["Prediction"], *, probabilities: bool) -> str:
    """Return the header and the rows of the table, with the cells of `csv_header` added.

    Args:
        header: The header; empty to omit it.
        table: The table, or a part of it.
        predictions: (n,) predictions of its rows. A label is empty if there is no answer.
        probabilities: Whether to add the probabilities of all classes.
    """
    rows: list[list[str | float | None]] = [[*header]] if header else []
    for cells, guess in zip(zip(*table.columns.values(), strict=True), predictions, strict=True):
        every = guess.probabilities.values() if probabilities else ()
        rows.append([*cells, guess.label, guess.probability, guess.unknown_words, *every])
    return csv_text(rows)
