"""A saved model: a folder that loads without the data, the study or Ray, and never through pickle.

model.safetensors   the weights of a single LSTM; in an ensemble one file per member instead:
                    trial-3.safetensors, plain-baseline.safetensors
config.json         members with their shares and settings, temperature, width of the word vectors, tokenizer,
                    text column, layout
vocabulary.json     the words, in id order
labels.json         the class names, in label order
metrics.json        figures, `coverage` among them
card.md             the model card, for readers
SHA256SUMS          digests of the files above; `sha256sum -c SHA256SUMS` checks them too
"""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.calibration import CoverageRow
from core.data.tokenizer import tokenizer_name
from core.data.vocabulary import Vocabulary
from core.errors import ConfigError, CorruptionError, UserError
from core.inference.members import MEMBER_FILES, Member, entry_of, file_of, member_of, tensors_of
from core.inference.model_schema import check_classes, check_coverage, check_settings, check_words, read_json
from core.io.atomic import is_folder
from core.io.checked_folder import (
    CHECKSUMS,
    check_output_folder,
    readable_json,
    replace_checked_folder,
    verify_checksums,
)

if TYPE_CHECKING:
    from torch import Tensor

LAYOUT = 3
"""Version of the folder; raise it if a reader of the old layout cannot read the new one."""
SHARED_FILES = ("config.json", "vocabulary.json", "labels.json", "metrics.json", "card.md")
MODEL_FILES = (*MEMBER_FILES, *SHARED_FILES)
"""Names and patterns of the files in a model folder, except CHECKSUMS."""
check_model_folder = partial(check_output_folder, files=MODEL_FILES, kind="saved model")
"""Check before training that a model may be saved at a path; return the path without symbolic links."""
_GIVE = "pass a folder that `sentune retrain`, `ensemble` or `distill` wrote"


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ModelParts:
    """The parts of a model that prediction needs."""

    members: Sequence[Member]
    """Members whose weights have the sum 1, with tensors on the CPU; those of a saved model are memory-mapped."""
    temperature: float = 1.0
    """Temperature: the probabilities are softmax(log p / temperature), where p is the weighted mean of the members'."""
    vocabulary: Vocabulary
    """Vocabulary of all members."""
    classes: tuple[str, ...]
    """(C,) names in label order."""
    embedding_dim: int
    """Width of a word vector."""
    coverage: tuple[CoverageRow, ...] = ()
    """Result of core.calibration.coverage_table on the validation sentences; empty if unknown."""
    tokenizer: str
    """Result of core.data.tokenizer.tokenizer_version when the model was trained."""
    text_column: str | None = None
    """Column of the texts in the file that the model was trained on; None if that was no file."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Content of metrics.json; empty for a model that was not read."""
    digest: str = ""
    """SHA-256 (hex) of the digests of all files but metrics.json and card.md; empty for a model that was not read."""


def save_model(path: Path, parts: ModelParts, *, metrics: Mapping[str, Any], card: str) -> None:
    """Write a model folder as a whole or not at all; it replaces an earlier model.

    Args:
        path: The folder.
        parts: The model, with members in any order. Its `coverage`, `metrics` and `digest` are not written.
        metrics: Figures, for JSON.
        card: Markdown, see core.inference.model_card.

    Raises:
        UserError: `path` contains something else, the disk is full, or the folder cannot be written.
        CorruptionError: `read_model` would refuse the members or the temperature.
    """
    path = check_model_folder(path)
    settings = {
        "layout": LAYOUT,
        "tokenizer": parts.tokenizer,
        "text_column": parts.text_column,
        "embedding_dim": parts.embedding_dim,
        "temperature": parts.temperature,
        "members": [entry_of(member) for member in parts.members],
    }
    check_settings(settings, LAYOUT)
    contents: dict[str, bytes | Mapping[str, Tensor]] = {
        **{file_of(member): tensors_of(member) for member in parts.members},
        "config.json": readable_json(settings),
        "vocabulary.json": readable_json(list(parts.vocabulary.words)),
        "labels.json": readable_json(list(parts.classes)),
        "metrics.json": readable_json(dict(metrics)),
        "card.md": card.encode(),
    }
    replace_checked_folder(path, contents, MODEL_FILES)


def read_model(path: Path) -> ModelParts:
    """Verify every file of a model folder and read it; if it is replaced meanwhile, read the new one.

    Raises:
        UserError: There is no model at `path`, or a newer version saved it.
        CorruptionError: A file is missing, changed, unreadable or breaks a rule; the message names it.
    """
    while True:
        _check_folder(path)
        before = _folder_identity(path)
        try:
            parts = _read_folder(path)
        except (OSError, UserError):
            if _folder_identity(path) == before:
                raise
        else:
            if _folder_identity(path) == before:
                return parts
        # `retrain` has replaced the folder meanwhile: what was read may be parts of two models.


def _folder_identity(path: Path) -> tuple[int, int] | None:
    """Return the identity of the folder at `path`, which changes if another folder replaces it; None without one."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def _read_folder(path: Path) -> ModelParts:
    try:
        files = verify_checksums(path, SHARED_FILES, MEMBER_FILES)
        settings = read_json(path / "config.json")
        found = settings.get("layout") if isinstance(settings, dict) else None
        if isinstance(found, int) and found != LAYOUT:
            raise UserError(f"{path} has layout {found}, this version of sentune reads {LAYOUT}; retrain the trial")
        return _read_verified(path, check_settings(settings, LAYOUT), files)
    except CorruptionError as error:
        raise CorruptionError(
            f"the model in {path} is damaged: {error}; run the command that saved it again"
        ) from error
    except ConfigError as error:
        raise UserError(f"{path} was saved by another version of sentune ({error}); retrain the trial") from error


def _check_folder(path: Path) -> None:
    """Raise UserError unless this is a folder with a file of a model."""
    if not is_folder(path):
        raise UserError(f"there is no saved model at {path}; {_GIVE}")
    try:
        names = {each.name for each in path.iterdir()}
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {_GIVE}") from error
    if "model.onnx" in names:
        raise UserError(f"{path} is an ONNX export; run its example.py, or pass the model folder that was exported")
    if not names.intersection((*SHARED_FILES, CHECKSUMS)):
        raise UserError(f"{path} is not a saved model; {_GIVE}")


def _read_verified(path: Path, settings: Mapping[str, Any], files: Sequence[str]) -> ModelParts:
    """Read a folder whose digests and config.json are checked; `files` are those of its members."""
    tokenizer_name(settings["tokenizer"])  # raises ConfigError if it is unknown
    if sorted(files) != sorted(entry["file"] for entry in settings["members"]):
        raise CorruptionError(f"{CHECKSUMS} has changed since it was saved")
    metrics = read_json(path / "metrics.json")
    return ModelParts(
        members=tuple(member_of(entry, _load_tensors(path / entry["file"])) for entry in settings["members"]),
        temperature=settings["temperature"],
        vocabulary=check_words(read_json(path / "vocabulary.json")),
        classes=check_classes(read_json(path / "labels.json")),
        embedding_dim=settings["embedding_dim"],
        coverage=check_coverage(metrics),
        tokenizer=settings["tokenizer"],
        text_column=settings.get("text_column"),
        metrics=metrics,
        digest=_digest(path),
    )


def _digest(path: Path) -> str:
    """Return a digest of those files of a verified folder on which the model's answers depend."""
    lines = (path / CHECKSUMS).read_text().splitlines()
    kept = sorted(line for line in lines if not line.endswith(("  card.md", "  metrics.json")))
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()


def _load_tensors(file: Path) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:
        raise CorruptionError(f"{file.name} cannot be read ({error})") from error
