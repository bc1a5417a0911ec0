"""The page's sections about mistakes: scores and confusions of the recommended trial, and doubtful labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.class_report import WIDEST_MATRIX
from core.errors import UserError
from core.io.text import without_folders
from tuning.analysis.ranking import AssessedStudy
from tuning.analysis.suspects import Suspect, suspects_of
from tuning.analysis.trial_detail import ClassResults
from tuning.console import in_callers_terms
from tuning.report.chart_data import default_results

MAX_SUSPECTS = 60
"""Maximum number of sentences shown."""
MAX_CONFUSIONS = 20
"""Maximum number of confusions that the page lists if there are too many classes for a matrix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MistakesSection:
    """The sections about mistakes."""

    classes: tuple[str, ...]
    results: ClassResults | None
    """Scores of the recommended trial for the classes; None if its predictions were not recorded."""
    suspects: Sequence[Suspect] = ()
    """The first MAX_SUSPECTS."""
    n_suspects: int = 0
    """Number of all suspects."""
    n_checked: int = 0
    """Number of sentences that were checked."""
    note: str | None = None
    """Reason why there are no suspects."""

    @property
    def matrix(self) -> list[list[tuple[int, int]]] | None:
        """Each count with its shade, 0 to 6, by its share of the class; None for more than WIDEST_MATRIX classes."""
        if self.results is None or len(self.classes) > WIDEST_MATRIX:
            return None
        counts = self.results.confusion
        shades = np.ceil(6 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(int)
        return [list(zip(*rows, strict=True)) for rows in zip(counts.tolist(), shades.tolist(), strict=True)]

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """Label, predicted class and count of the most frequent confusions."""
        if self.results is None:
            return []
        wrong = self.results.confusion - np.diag(self.results.confusion.diagonal())
        found = [(self.classes[a], self.classes[b], int(wrong[a, b])) for a, b in zip(*np.nonzero(wrong), strict=True)]
        return sorted(found, key=lambda each: (-each[2], each[:2]))[:MAX_CONFUSIONS]


def mistakes_section(study: AssessedStudy, cache_dir: Path | None) -> MistakesSection:
    """Return the sections; without the data or stored probabilities, with a note instead of the sentences.

    Raises:
        CorruptionError: Stored predictions are damaged.
    """
    found: Sequence[Suspect] = ()
    n_checked, note = 0, None
    try:
        found, n_checked = suspects_of(study.folder, study.attributes, study.records, cache_dir)
    except UserError as error:
        note = f"The sentences cannot be shown: {in_callers_terms(without_folders(str(error)))}"
    classes = tuple(study.attributes["validation"]["classes"])
    results, suspects = default_results(study), found[:MAX_SUSPECTS]
    return MistakesSection(
        classes=classes, results=results, suspects=suspects, n_suspects=len(found), n_checked=n_checked, note=note
    )
