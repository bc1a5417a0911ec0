"""DATASET -> texts, labels, class names, licence, and what identifies them."""

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import cache, columns, known
from core.archives import open_file, read_file, read_tar
from core.encodings import detect
from core.errors import ConfigError, DataError, UserError
from core.pip_source import pip_download
from core.readers import FORMATS, format_of, read_table
from core.text import printable

SNIPPETS_RELEASE = "vaderSentiment==3.3.2"
SNIPPETS_RELEASE_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
SNIPPETS_ARCHIVE = "hutto_ICWSM_2014.tar.gz"
SNIPPETS_FILE = "movieReviewSnippets_GroundTruth.txt"
SNIPPETS_SHA256 = "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"

MR_SHA256 = {
    "rt-polarity.neg": "4ace77d558c3714723843f1d65b60c01e3417b208180f0728808d76ad0eeeaca",
    "rt-polarity.pos": "2da124ec187a9d5a29c9f04e91c540e02baed5af8868f550a26bd6fd4dbf8bf0",
}
POLARITY = ("negative", "positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How a file is read; the built-in datasets take none."""

    text_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    encoding: str | None = None
    """Of a text file; None to detect it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Sentences with labels, in the source's order."""

    texts: list[str]
    labels: NDArray[np.int64]
    """(n,) places in `classes`."""
    classes: tuple[str, ...]
    split_values: list[str] | None = None
    """(n,) the split column's cells."""
    notes: Mapping[str, Any]
    """What reading found out, as JSON can hold it: licence, columns, rows dropped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """A dataset that is found and identified, and read only if the cache lacks what is made from it."""

    inputs: Mapping[str, Any]
    """Everything that decides what `read` returns; part of the cache key."""
    read: Callable[[], Dataset]


def locate(dataset: str, options: Options, folder: Path, notify: cache.Notify | None = None) -> Located:
    """Find `snippets`, `mr`, `mr:PATH` or the path of a .csv, .tsv, .jsonl or .parquet file.

    Raises:
        ConfigError: the name is none of these, or an option does not go with it.
        DataError: a file is absent or cannot be used.
    """
    if dataset == "snippets" or dataset == "mr" or dataset.startswith("mr:"):
        _refuse_options(dataset, options)
    if dataset == "snippets":
        return Located(
            inputs={"dataset": "snippets", "sha256": SNIPPETS_SHA256}, read=lambda: _read_snippets(folder, notify)
        )
    if dataset.startswith("mr:"):
        return _located_mr(_mr_files(Path(dataset.removeprefix("mr:")).expanduser()), notify)
    return _located_file(dataset, options, folder)


def _refuse_options(dataset: str, options: Options) -> None:
    given = [f"--{name.replace('_', '-')}" for name in options.__slots__ if getattr(options, name) is not None]
    if given:
        raise ConfigError(f"{' and '.join(given)} must go with a file, got dataset {dataset!r}; leave it out")


def _read_snippets(folder: Path, notify: cache.Notify | None) -> Dataset:
    entry = cache.obtain(
        folder, "sources", {"source": SNIPPETS_FILE, "sha256": SNIPPETS_SHA256}, _fetch_snippets, notify
    )
    return parse_snippets((entry.path / SNIPPETS_FILE).read_bytes())


def _fetch_snippets(target: Path) -> None:
    try:
        name, release = pip_download(SNIPPETS_RELEASE, SNIPPETS_RELEASE_SHA256)
    except UserError as error:
        raise UserError(
            f"cannot get the dataset snippets: {error}; two ways around it: name a file of your own "
            "(.csv, .tsv, .jsonl, .parquet), or pass mr:PATH with the Movie Review archive"
        ) from None
    inner = read_tar(io.BytesIO(release), len(release), [SNIPPETS_ARCHIVE], name)[SNIPPETS_ARCHIVE]
    data = read_tar(io.BytesIO(inner), len(inner), [SNIPPETS_FILE], f"{name}/{SNIPPETS_ARCHIVE}")[SNIPPETS_FILE]
    if hashlib.sha256(data).hexdigest() != SNIPPETS_SHA256:
        raise DataError(f"{name}: {SNIPPETS_FILE} is not the published file")
    (target / SNIPPETS_FILE).write_bytes(data)


def parse_snippets(data: bytes) -> Dataset:
    """Lines `id TAB mean rating in [-4, 4] TAB text`: the rating's sign is the label, zero is dropped."""
    texts, labels, zero = [], [], 0
    for number, line in enumerate(data.decode("utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            _, rating, text = line.split("\t", maxsplit=2)
            mean = float(rating)
        except ValueError:
            raise DataError(f"{SNIPPETS_FILE}, line {number}: must be id, rating and text between tabs") from None
        if mean == 0:
            zero += 1
            continue
        texts.append(text.strip())
        labels.append(int(mean > 0))
    notes = {"licence": "MIT (vaderSentiment 3.3.2, C.J. Hutto)", "dropped_neutral": zero}
    return Dataset(texts=texts, labels=np.array(labels, dtype=np.int64), classes=POLARITY, notes=notes)


def _mr_files(path: Path) -> dict[str, bytes]:
    """The two files, from the archive or from the folder that holds them (or its rt-polaritydata)."""
    if path.is_dir():
        home = path if (path / "rt-polarity.neg").exists() else path / "rt-polaritydata"
        return {name: read_file(home / name) for name in MR_SHA256}
    with open_file(path) as file:
        return read_tar(file, path.stat().st_size, list(MR_SHA256), str(path))


def _located_mr(files: Mapping[str, bytes], notify: cache.Notify | None) -> Located:
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    changed = [name for name in digests if digests[name] != MR_SHA256[name]]
    if changed and notify:
        notify(f"{' and '.join(changed)} differ from the published Movie Review files: figures will not compare")
    return Located(inputs={"dataset": "mr", "sha256": digests}, read=lambda: parse_mr(files))


def parse_mr(files: Mapping[str, bytes]) -> Dataset:
    """One snippet a line, negatives first, as in the notebook.

    The bytes are cp1252. The notebook decodes them as UTF-8 with errors ignored, which drops every accented letter
    ("clich" for "cliché"): our texts, and so some tokens, differ from its own there.

    Raises:
        DataError: a file holds no snippet, or bytes that cp1252 does not know.
    """
    texts: list[str] = []
    counts = []
    for name in ("rt-polarity.neg", "rt-polarity.pos"):
        try:
            lines = files[name].decode("cp1252").split("\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}, line {files[name].count(10, 0, error.start) + 1}: is not cp1252 text") from None
        snippets = [line.strip() for line in lines if line.strip()]
        if not snippets:
            raise DataError(f"{name}: holds no snippet")
        texts += snippets
        counts.append(len(snippets))
    labels = np.repeat(np.arange(2, dtype=np.int64), counts)
    notes = {"licence": "CC BY 4.0 (sentence polarity dataset v1.0, Bo Pang and Lillian Lee, 2005)"}
    return Dataset(texts=texts, labels=labels, classes=POLARITY, notes=notes)


def _located_file(dataset: str, options: Options, folder: Path) -> Located:
    path = Path(dataset).expanduser()
    kind = format_of(path)
    if kind is None:
        raise ConfigError(
            f"dataset must be snippets, mr, mr:PATH or a file ending in {', '.join(f'.{kind}' for kind in FORMATS)} "
            f"(or .gz of one), got {printable(dataset, 80)!r}"
        )
    digest = known.sha256_of(path, folder)
    encoding = None if kind == "parquet" else options.encoding or detect(read_file(path), str(path))
    inputs = {
        "dataset": "file",
        "sha256": digest,
        "format": kind,
        "encoding": encoding,
        "text_column": options.text_column,
        "label_column": options.label_column,
        "split_column": options.split_column,
    }
    return Located(inputs=inputs, read=lambda: _read_file(path, encoding or "utf-8", options))


def _read_file(path: Path, encoding: str, options: Options) -> Dataset:
    table = read_table(path, encoding)
    text, label = columns.choose(table, options.text_column, options.label_column)
    labels, classes = columns.labels_of(table, label)
    split_values = None
    if options.split_column is not None:
        split_values = [cell or "" for cell in columns.require(table, options.split_column, "--split-column")]
    notes = {"licence": "as stated by the file's owner", "text_column": text, "label_column": label}
    return Dataset(
        texts=columns.texts_of(table, text), labels=labels, classes=classes, split_values=split_values, notes=notes
    )
