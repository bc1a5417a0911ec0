"""The probabilities of each trial's best epoch, next to the journal: `probabilities/00003.npz`. Loads no torch.

A file is written as a whole before the journal has its epoch. It contains the number of the epoch: after a kill between
the two, it belongs to an epoch that the journal lacks, and is ignored. The file is a zip archive of numpy arrays
(`epoch`, `log_odds` as core.log_odds defines them) with checksums and without pickle.
"""

import base64
import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import CorruptionError
from core.io.atomic import atomic_write, read_regular
from core.io.text import error_summary
from core.log_odds import LogOdds, check_log_odds, to_probabilities

FOLDER = "probabilities"


def pack_log_odds(epoch: int, log_odds: LogOdds) -> str:
    """Return the content of a file as text, to be sent from a worker to the driver."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, epoch=np.array(epoch), log_odds=log_odds.astype("<i2"))
    return base64.b64encode(buffer.getvalue()).decode()


def save_probabilities(study: Path, name: str, packed: str) -> None:
    """Write the result of `pack_log_odds`; it replaces that of an earlier epoch.

    Args:
        study: Folder of the study.
        name: `trial_name` of a trial, or the name of another classifier.
        packed: Result of `pack_log_odds`.

    Raises:
        UserError: The file cannot be written.
    """
    atomic_write(study / FOLDER / f"{name}.npz", base64.b64decode(packed))


def load_probabilities(
    study: Path, name: str, epoch: int, n_sentences: int, n_classes: int
) -> NDArray[np.float32] | None:
    """Return the (n, C) probabilities of an epoch; None if they are not stored, or belong to another epoch.

    Raises:
        CorruptionError: The file is damaged.
    """
    path = study / FOLDER / f"{name}.npz"
    try:
        with np.load(io.BytesIO(read_regular(path)), allow_pickle=False) as content:
            stored, log_odds = int(content["epoch"]), content["log_odds"]
        check_log_odds(log_odds, n_sentences, n_classes)
    except FileNotFoundError:
        return None
    # zipfile raises a RuntimeError for an entry that is encrypted, or compressed by a method that it lacks
    except (EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        reason = error_summary(error) if isinstance(error, ValueError) else "it is no archive of probabilities"
        raise CorruptionError(
            f"{path} is damaged ({reason}); restore a copy, or remove the file to ignore it"
        ) from error
    return to_probabilities(log_odds) if stored == epoch else None


def trial_name(number: int) -> str:
    """Return the name of a trial in files and folders: 3 -> `00003`."""
    return f"{number:05d}"


def file_name(key: str) -> str:
    """Return a key of a run of `confirm` as the name of a file or folder: `confirm:3:7:0/5` -> `confirm-3-7-0of5`."""
    return key.replace(":", "-").replace("/", "of")
