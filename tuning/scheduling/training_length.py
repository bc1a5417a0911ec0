"""The length of a trial: `--epochs` and `--epoch-sentences`, and what `auto` chooses for a training split.

A small training split needs more passes than a large one for the same number of steps. `auto` therefore counts the
sentences that a trial sees. On a large split, an epoch is a part of a pass, so that weak trials end early.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.config import MAX_EPOCH_SENTENCES, MAX_EPOCHS
from core.errors import ConfigError

AUTO_SENTENCES = 70_000
"""Training sentences that a trial of `--epochs auto` sees, within the bounds below
(results/reference/training_length.md)."""
AUTO_EPOCHS = 8, 50
"""Bounds of `--epochs auto`."""
EPOCH_BOUND = 100_000
"""Longest epoch of `--epoch-sentences auto`, in training sentences."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingLength:
    """Maximum length of every trial of a study."""

    epochs: int
    epoch_sentences: int | None
    """Number of training sentences in an epoch; None: a whole pass."""
    a_pass: int
    """Number of training sentences in a pass."""
    reason: str
    """Basis of the choice of `auto`; empty if both numbers were given."""

    def __str__(self) -> str:
        """Return a text such as `16 of 4,362 sentences (auto: 70,000 training sentences)`."""
        return f"{self.epochs} of {self.epoch_sentences or self.a_pass:,} sentences (auto: {self.reason})"


def parse_length(option: str, text: str) -> int | None:
    """Return the number of an option, or None for `auto`.

    Raises:
        ConfigError: The text is neither `auto` nor a number.
    """
    if text == "auto":
        return None
    most = MAX_EPOCHS if option == "--epochs" else MAX_EPOCH_SENTENCES
    if not re.fullmatch(r"[0-9]{1,10}", str(text), re.ASCII) or not 1 <= int(text) <= most:  # Python passes a number
        raise ConfigError(f"{option} must be auto or a whole number from 1 to {most}, got {text!r}")
    return int(text)


def training_length(
    epochs: int | None, epoch_sentences: int | None, a_pass: int, recorded: Mapping[str, Any] | None
) -> TrainingLength:
    """Return the length of every trial of a study.

    Args:
        epochs: Number of epochs; None to choose it.
        epoch_sentences: Number of training sentences in an epoch; None to choose it.
        a_pass: Number of training sentences in a pass, see core.data.corpus.Corpus.pass_sentences.
        recorded: Spec of the study, whose values are kept; None for a new study.
    """
    if recorded is not None:
        chosen = epochs is None or (epoch_sentences is None and recorded["epoch_sentences"] is not None)
        return TrainingLength(
            epochs=epochs or recorded["epochs"],
            epoch_sentences=epoch_sentences or recorded["epoch_sentences"],
            a_pass=a_pass,
            reason="as recorded in the study" if chosen else "",
        )
    reasons = []
    if epochs is None:
        an_epoch = epoch_sentences or min(a_pass, EPOCH_BOUND)
        needed = round(AUTO_SENTENCES / an_epoch)
        epochs = min(max(needed, AUTO_EPOCHS[0]), AUTO_EPOCHS[1])
        bound = "at least" if epochs > needed else "at most"
        reasons.append(f"{AUTO_SENTENCES:,} training sentences" if epochs == needed else f"{bound} {epochs} epochs")
    if epoch_sentences is None and a_pass > EPOCH_BOUND:
        epoch_sentences = EPOCH_BOUND
        reasons.append(f"a part of the {a_pass:,} training sentences")
    return TrainingLength(epochs=epochs, epoch_sentences=epoch_sentences, a_pass=a_pass, reason=", each ".join(reasons))
