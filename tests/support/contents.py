"""The content of a study and its model that must not depend on kills and workers."""

import json
from pathlib import Path
from typing import Any

from tuning.journal.records import study_attributes


def outcomes(study: Path) -> dict[str, Any]:
    """Every finished run, without its times."""
    return {
        key: {name: value for name, value in kept.items() if name not in ("time", "seconds")}
        for key, kept in study_attributes(study).items()
        if key.startswith("confirm:")
    }


def metrics(study: Path, model: str = "model") -> dict[str, Any]:
    """Return the metrics of the model folder of this name in the study's folder."""
    found: dict[str, Any] = json.loads((study / model / "metrics.json").read_text())
    return found


def results_of(found: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on what happened to the process."""
    return {name: found[name] for name in ("seeds", "weights_sha256", "verdict", "val_accuracy", "test_accuracy")}
