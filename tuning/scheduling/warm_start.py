"""`--warm-start OTHER`: another study's finished trials, as knowledge for the sampler of a new one.

They are copied into the new study when it is made, so that it needs the other one no more and going on with it is
exact, whatever has become of the other meanwhile.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from core.errors import ConfigError
from tuning.journal.records import Spec, TrialRecord, read_study, study_attributes
from tuning.scheduling.samplers import LEARNING
from tuning.scheduling.study import StudyConfig, space_from_spec
from tuning.space.space import Space

PRIOR_TRIALS = "knowledge"
"""The study's user attribute that holds it."""


def add_prior_trials(
    plan: StudyConfig, folder: Path, other: Path, fingerprint: str
) -> tuple[StudyConfig, dict[str, Any]]:
    """Add the other study's trials to the plan.

    Args:
        plan: of the study in `folder`.
        folder: the study's; where it has begun, the knowledge is its own copy.
        other: the other study's folder.
        fingerprint: of the data.

    Returns:
        The plan, and what to keep as the study's user attributes when it is made.

    Raises:
        ConfigError: the other study's trials say nothing about this search; the reason is named.
        UserError: there is no such study.
    """
    own = study_attributes(folder)
    start = own.get("spec", {}).get("warm_start")
    if start and start["study"] == other.name:
        rows = own[PRIOR_TRIALS]
    else:
        theirs, records = read_study(other)
        problems = _mismatches(plan, theirs["spec"], fingerprint)
        rows = [_row(record) for record in records if record.state in ("COMPLETE", "PRUNED")]
        if not problems and not rows:
            problems = ["none of its trials is finished"]
        if problems:
            raise ConfigError(f"--warm-start {other.name} cannot be used: {'; '.join(problems)}; leave it out")
        digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
        start = {"study": other.name, "trials": len(rows), "sha256": digest}
    knowledge = tuple(_trial(row, plan.space) for row in rows)
    return dataclasses.replace(plan, warm_start=start, prior_trials=knowledge), {PRIOR_TRIALS: rows}


def _mismatches(plan: StudyConfig, spec: Spec, fingerprint: str) -> Sequence[str]:
    """Why the other study's outcomes say nothing about this one's."""
    theirs = space_from_spec(spec)
    problems = []
    if plan.sampler not in LEARNING:
        problems.append(f"--sampler {plan.sampler} does not learn from trials")
    if spec["fingerprint"] != fingerprint:
        problems.append("it was made with other data")
    if (theirs.dimensions, dict(theirs.fixed)) != (plan.space.dimensions, dict(plan.space.fixed)):
        problems.append(f"it searches another space ({theirs.name})")
    if spec["epochs"] != plan.epochs:
        problems.append(f"its trials have {spec['epochs']} epochs, this study's {plan.epochs}")
    return problems


def _row(record: TrialRecord) -> dict[str, Any]:
    assert record.best is not None
    return {
        "params": dict(record.params),
        "state": record.state,
        "value": record.best.val_accuracy,
        "epochs": [[epoch.epoch, epoch.val_accuracy] for epoch in record.epochs],
    }


def _trial(row: dict[str, Any], space: Space) -> FrozenTrial:
    return create_trial(
        state=TrialState[row["state"]],
        params=row["params"],
        distributions=space.distributions(row["params"]),
        value=row["value"],
        intermediate_values=dict(row["epochs"]),
    )
