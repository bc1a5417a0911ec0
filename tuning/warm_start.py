"""`--warm-start OTHER`: another study's finished trials as prior trials for the sampler of a new study.

Those that the sampler can use are copied into the new study at its creation. Continuing it therefore does not depend on
the other study.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from core.config import TrialConfig
from core.errors import ConfigError, CorruptionError
from core.training.result import EpochResult
from tuning.console import program_name, study_argument
from tuning.journal.records import RANKED, Spec, TrialRecord, read_study
from tuning.scheduling.samplers import MIN_SOURCE_TRIALS, SAMPLERS, needed_settings
from tuning.scheduling.study_config import StudyConfig
from tuning.space.portfolio import FirstTrials
from tuning.space.space import Space

PRIOR_TRIALS = "prior_trials"
"""The study's user attribute with the prior trials."""


def add_warm_start(
    config: StudyConfig, existing: Mapping[str, Any], folder: Path | None, fingerprint: str, embedding_dim: int
) -> tuple[StudyConfig, dict[str, Any]]:
    """Return the configuration with the trials of `--warm-start`, and the attributes that a new study keeps of them.

    Args:
        config: Configuration of the study.
        existing: The study's attributes; an existing study has a copy of the trials.
        folder: Folder of the other study; None for no warm start.
        fingerprint: Fingerprint of the data.
        embedding_dim: Width of a word vector, which the fingerprint lacks for random vectors.

    Raises:
        ConfigError: The other study's trials cannot be used in this search; the message has the reason.
        CorruptionError: The study's copy of the trials is damaged.
        UserError: There is no such study.
    """
    if folder is None:
        return config, {}
    other = folder.name
    start = existing.get("spec", {}).get("warm_start")
    if start and start["study"] == other:
        rows = existing[PRIOR_TRIALS]
        if _digest(rows) != start["sha256"]:
            raise CorruptionError(f"the journal's trials of --warm-start {other} are damaged; start a new study")
        if not config.space.equals_in_any_order(Space.from_dict(existing["spec"]["space"])):
            return dataclasses.replace(config, warm_start=start), {}  # open_study names the difference
    else:
        theirs, records = read_study(folder)
        problems = _mismatches(config, theirs["spec"], fingerprint, embedding_dim)
        ended = [_row(record, best) for record in records if record.state in RANKED and (best := record.best)]
        needed = needed_settings(config.sampler, config.space)
        rows = [row for row in ended if needed <= row["params"].keys()]
        again = f"`{program_name()} best {study_argument(folder)} --top 5 --format json > best.json`"
        hint = f", or begin with its best trials: {again}, then --first-trials best.json" if problems and ended else ""
        if not problems:
            problems = _too_few(config, len(ended), len(rows))
        if problems:
            raise ConfigError(f"--warm-start {other} cannot be used: {'; '.join(problems)}; leave it out{hint}")
        start = {"study": other, "trials": len(rows), "sha256": _digest(rows)}
    prior_trials = tuple(_trial(row, config.space) for row in rows)
    first_trials = _without(config, [row["params"] for row in rows])
    config = dataclasses.replace(config, warm_start=start, prior_trials=prior_trials, first_trials=first_trials)
    return config, {PRIOR_TRIALS: rows}


def _too_few(config: StudyConfig, n_finished: int, n_usable: int) -> Sequence[str]:
    """Return the problem if the sampler can use none, or too few, of the finished trials."""
    if not n_finished:
        return ["none of its trials is finished"]
    if config.sampler == "cmaes" and n_usable < MIN_SOURCE_TRIALS:
        return [f"--sampler cmaes needs {MIN_SOURCE_TRIALS} finished trials, and can use {n_usable} of its trials"]
    if not n_usable:
        return [f"the sampler can use none of its finished trials ({n_finished}): each has a value outside a range"]
    return []


def _digest(rows: object) -> str:
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def _without(config: StudyConfig, tried: Sequence[Mapping[str, Any]]) -> FirstTrials:
    """Return the first trials without those whose parameters the other study tried: the sampler has their results."""
    kept = []
    for settings in config.first_trials.settings:
        params = config.space.to_params(TrialConfig.from_dict({**settings, **config.shared_settings}))
        if params not in tried:
            kept.append(settings)
    return dataclasses.replace(config.first_trials, settings=tuple(kept))


def _mismatches(plan: StudyConfig, spec: Spec, fingerprint: str, embedding_dim: int) -> Sequence[str]:
    """Return the reasons why the other study's results cannot be used in this one."""
    theirs = Space.from_dict(spec["space"])
    problems = []
    if not SAMPLERS[plan.sampler].learns:
        problems.append(f"--sampler {plan.sampler} does not learn from trials")
    if spec["fingerprint"] != fingerprint:
        problems.append("it has other data")
    elif spec["embedding_dim"] != embedding_dim:
        problems.append(f"its word vectors have {spec['embedding_dim']} dimensions, this study's {embedding_dim}")
    if not plan.space.equals_in_any_order(theirs):
        other = "other values of the space" if theirs.name == plan.space.name else "another space,"
        problems.append(f"it searches {other} {theirs.name}")
    if spec["metric"] != plan.metric:
        problems.append(f"it optimises {spec['metric']}, this study {plan.metric}")
    if spec["epochs"] != plan.epochs:
        problems.append(f"its trials have {spec['epochs']} epochs, this study's {plan.epochs}")
    if spec["epoch_sentences"] != plan.epoch_sentences:
        lengths = (
            "a pass" if n is None else f"{n:,} sentences" for n in (spec["epoch_sentences"], plan.epoch_sentences)
        )
        problems.append("its epochs are {} long, this study's {}".format(*lengths))
    return problems


def _row(record: TrialRecord, best: EpochResult) -> dict[str, Any]:
    return {
        "params": dict(record.params),
        "state": "PRUNED" if record.state == "PAUSED" else record.state,
        "value": best.score,
        "epochs": len(record.epochs),
    }


def _trial(row: dict[str, Any], space: Space) -> FrozenTrial:
    return create_trial(
        state=TrialState[row["state"]],
        params=row["params"],
        distributions=space.distributions(row["params"]),
        value=row["value"],
        intermediate_values={row["epochs"]: row["value"]},  # as samplers.result_view shows the study's own
    )
