"""A saved model: a folder that loads without the data, the study or Ray, and never through pickle.

model.safetensors   the weights
config.json         TrialConfig, width of the word vectors, tokenizer, version of this layout
vocabulary.json     the words, in id order
labels.json         the class names, in label order
metrics.json        figures
card.md             the model card, for readers
SHA256SUMS          digests of the files above; `sha256sum -c SHA256SUMS` checks them too
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config import TrialConfig
from core.data.vocabulary import Vocabulary
from core.errors import ConfigError, CorruptionError, UserError
from core.io.checked_folder import (
    CHECKSUMS,
    check_output_folder,
    readable_json,
    verify_checksums,
    write_checked_folder,
)

if TYPE_CHECKING:
    from torch import Tensor

LAYOUT = 2
"""Version of the folder; raise it when a reader of the old layout could not read the new one."""
MODEL_FILES = ("model.safetensors", "config.json", "vocabulary.json", "labels.json", "metrics.json", "card.md")
check_model_folder = partial(check_output_folder, files=MODEL_FILES, kind="saved model")
"""Check before training that a model may be saved at a path; return the path without symbolic links."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class SavedModel:
    """The parts of a saved model that prediction needs."""

    config: TrialConfig
    weights: Mapping[str, "Tensor"]
    """By the names of SentenceClassifier; on the CPU, memory-mapped."""
    vocabulary: Vocabulary
    classes: tuple[str, ...]
    """In label order."""
    embedding_dim: int
    tokenizer: str
    """As core.data.tokenizer.tokenizer_version named it when the model was trained."""


def save_model(
    path: Path,
    *,
    config: TrialConfig,
    weights: Mapping[str, "Tensor"],
    words: Sequence[str],
    classes: Sequence[str],
    embedding_dim: int,
    tokenizer: str,
    metrics: Mapping[str, Any],
    card: str,
) -> None:
    """Write a model folder; it is there whole or not at all, and replaces a model that was there.

    Args:
        path: the folder.
        config: what the weights were trained with.
        weights: by the names of SentenceClassifier.
        words: (V,) the vocabulary, `<pad>` and `<unk>` first.
        classes: (C,) names in label order.
        embedding_dim: width of a word vector.
        tokenizer: name and version that made the words.
        metrics: figures, as JSON can hold them.
        card: markdown, see core.inference.model_card.

    Raises:
        UserError: `path` holds something else, the disk is full, or the folder cannot be written.
    """
    path = check_model_folder(path)
    settings = {"layout": LAYOUT, "config": config.to_dict(), "embedding_dim": embedding_dim, "tokenizer": tokenizer}
    contents: dict[str, bytes | Mapping[str, Tensor]] = {
        "model.safetensors": {name: value.detach().cpu() for name, value in weights.items()},
        "config.json": readable_json(settings),
        "vocabulary.json": readable_json(list(words)),
        "labels.json": readable_json(list(classes)),
        "metrics.json": readable_json(dict(metrics)),
        "card.md": card.encode(),
    }
    write_checked_folder(path, contents)


def read_model(path: Path) -> SavedModel:
    """Verify every file of a model folder and read it.

    Raises:
        UserError: there is no model at `path`, or a newer version saved it.
        CorruptionError: a file is missing, changed or unreadable; it is named.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_dir():
        raise UserError(f"there is no saved model at {path}: give a folder that `sentune retrain` wrote")
    if not any((path / name).exists() for name in (*MODEL_FILES, CHECKSUMS)):
        raise UserError(f"{path} is not a saved model: give a folder that `sentune retrain` wrote")
    try:
        verify_checksums(path, MODEL_FILES)
        weights = load_file(path / "model.safetensors")
    except (CorruptionError, SafetensorError) as error:
        problem = error if isinstance(error, CorruptionError) else f"model.safetensors cannot be read ({error})"
        raise CorruptionError(
            f"the model in {path} is damaged: {problem}; save it again with `sentune retrain`"
        ) from error
    settings = json.loads((path / "config.json").read_bytes())
    if settings["layout"] != LAYOUT:
        raise UserError(
            f"{path} has layout {settings['layout']}, this version of sentune reads {LAYOUT}: retrain the trial"
        )
    try:
        config = TrialConfig.from_dict(settings["config"])
    except ConfigError as error:
        raise UserError(
            f"{path} was saved by another version of sentune, which this one cannot read: {error}"
        ) from error
    return SavedModel(
        config=config,
        weights=weights,
        vocabulary=Vocabulary(tuple(json.loads((path / "vocabulary.json").read_bytes()))),
        classes=tuple(json.loads((path / "labels.json").read_bytes())),
        embedding_dim=settings["embedding_dim"],
        tokenizer=settings["tokenizer"],
    )
