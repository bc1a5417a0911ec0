"""The probabilities of the trials' epochs, next to the journal: `probabilities/00003-5.npz`. Loads no torch.

An epoch has them if it is the trial's best so far: which of them is the best one depends on how many epochs count, and
another `--trials` or `--target` changes that. A file is written as a whole before the journal has its epoch. After a
kill between the two, the epoch is repeated and the file written again. It is a zip archive of a numpy array (`log_odds`
as core.log_odds defines it) with a checksum and without pickle.
"""

import base64
import io
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import CorruptionError, UserError
from core.io.atomic import atomic_write, read_regular
from core.io.text import error_summary
from core.log_odds import LogOdds, check_log_odds, to_probabilities
from tuning.journal.predictions import DAMAGE

FOLDER = "probabilities"
HEADER_BYTES = 10_000
"""Upper bound of numpy's header of an array."""


def pack_log_odds(log_odds: LogOdds) -> str:
    """Return the content of a file as text, to be sent from a worker to the driver."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, log_odds=log_odds.astype("<i2"))
    return base64.b64encode(buffer.getvalue()).decode()


def save_probabilities(study: Path, name: str, packed: str) -> None:
    """Write the result of `pack_log_odds`.

    Args:
        study: Folder of the study.
        name: `epoch_name` of a trial's epoch, or the name of another classifier.
        packed: Result of `pack_log_odds`.

    Raises:
        UserError: The file cannot be written.
    """
    path = study / FOLDER / f"{name}.npz"
    if path.is_symlink():  # a study from elsewhere may have one, which would be followed
        path.unlink()
    atomic_write(path, base64.b64decode(packed))


def load_probabilities(study: Path, name: str, n_sentences: int, n_classes: int) -> NDArray[np.float32] | None:
    """Return the (n, C) probabilities with this name, as in `save_probabilities`; None if they are not stored.

    Raises:
        CorruptionError: The file is damaged.
        UserError: It cannot be read.
    """
    path = study / FOLDER / f"{name}.npz"
    try:
        content = read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); make it a regular file that you may read") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if not {entry.compress_type for entry in archive.infolist()} <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise zipfile.BadZipFile  # other methods raise errors of their own
            if size > 2 * n_sentences * (n_classes - 1) + HEADER_BYTES:
                raise ValueError(f"{size:,} bytes are too many for {n_sentences:,} sentences")
            entry = archive.read("log_odds.npy")  # all of it, so that zipfile compares its checksum first
        log_odds = np.lib.format.read_array(io.BytesIO(entry), allow_pickle=False)
        check_log_odds(log_odds, n_sentences, n_classes)
    except (
        *(*DAMAGE, EOFError, zipfile.BadZipFile, zlib.error),
        *(SyntaxError, tokenize.TokenError),  # a header of numpy that is no Python
        MemoryError,  # a header of numpy with a huge shape
        RuntimeError,  # an entry that is encrypted
    ) as error:
        reason = error_summary(error) if isinstance(error, ValueError) else "it is no archive of probabilities"
        raise CorruptionError(
            f"{path} is damaged ({reason}); restore a copy, or remove the file to ignore it"
        ) from error
    return to_probabilities(log_odds)


def trial_name(number: int) -> str:
    """Return the name of a trial in files and folders: 3 -> `00003`."""
    return f"{number:05d}"


def epoch_name(number: int, epoch: int) -> str:
    """Return the name of an epoch's probabilities: epoch 5 of trial 3 -> `00003-5`."""
    return f"{trial_name(number)}-{epoch}"


def file_name(key: str) -> str:
    """Return a key of a run of `confirm` as the name of a file or folder: `confirm:3:7:0/5` -> `confirm-3-7-0of5`."""
    return key.replace(":", "-").replace("/", "of")
