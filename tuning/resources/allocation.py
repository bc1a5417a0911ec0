"""The heaviest configurations of a search space, their memory, and the resources of a trial."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from core.config import COST_ORDER, TrialConfig
from core.data.corpus import Corpus
from core.errors import ConfigError
from core.nn.model_size import min_training_bytes, stored_word_vectors
from tuning.resources import profiling
from tuning.resources.gpu import GpuShareChoice, choose_share
from tuning.resources.machine import Machine, TrialResources
from tuning.scheduling.study_config import StudyConfig
from tuning.space.expressions import Value
from tuning.space.initial_trials import initial_trials
from tuning.space.space import Dimension, Space

GPU_SHARE = "gpu_share"
"""The study's user attribute that holds the choice of `--gpus-per-trial auto`."""


def heaviest_configs(space: Space, baseline: bool = True, **settings: Any) -> list[TrialConfig]:
    """Return the configuration of the largest values, and larger ones: initial trials, or those of other conditions.

    Args:
        space: The search space.
        baseline: Whether the study has the baseline.
        settings: TrialConfig fields that all trials of the study share (StudyConfig.shared_settings).
    """

    def corner(when: Mapping[str, tuple[Value, ...]]) -> TrialConfig:
        return space.to_config(space.resolve(lambda each: _heaviest_value(each, when.get(each.name))), **settings)

    largest, others = corner({}), [corner(_conditions(space, each)) for each in space.dimensions if each.when]
    others += [TrialConfig.from_dict({**entry, **settings}) for entry in initial_trials(space, baseline)]
    words = stored_word_vectors(largest)
    larger = (c for c in others if _size(c) > _size(largest) or stored_word_vectors(c) > words)
    return [largest, *dict.fromkeys(larger)]


def _conditions(space: Space, dimension: Dimension) -> dict[str, tuple[Value, ...]]:
    """Return the allowed values of each setting on which a dimension depends, directly or through another one."""
    found = dict(dimension.when)
    for each in reversed(space.dimensions):  # a condition is on earlier dimensions
        for name, allowed in each.when if each.name in found else ():
            found[name] = tuple(value for value in found.get(name, allowed) if value in allowed) or allowed
    return found


def _heaviest_value(dimension: Dimension, allowed: tuple[Value, ...] | None) -> Value:
    """Return the value with the highest cost, of all or of the `allowed` ones."""
    distribution = dimension.distribution
    values = distribution.choices if allowed is None and isinstance(distribution, CategoricalDistribution) else allowed
    if values is not None:
        order = COST_ORDER.get(dimension.field, ())
        ranked = [value for value in order if value in values]
        numbers = [value for value in values if isinstance(value, int | float)]
        return ranked[0] if ranked else max(numbers) if numbers else values[0]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.high


def _size(config: TrialConfig) -> int:
    """Return a number that grows with the activations of a batch and the weights of the layers."""
    directions = config.directions
    return config.hidden_dim * directions * config.n_layers * (config.batch_size * 20 + config.hidden_dim * 8)


def check_memory(configs: list[TrialConfig], shape: tuple[int, int, int], limit_bytes: int, where: str) -> None:
    """Check that the heaviest configurations fit in the memory.

    Args:
        configs: Result of `heaviest_configs`.
        shape: (V, E, C): number of words, width of a word vector, number of classes.
        limit_bytes: Memory of `where`; 0 if unknown.
        where: Name of the place for the message, such as `this machine`.

    Raises:
        ConfigError: One does not fit; the message has its settings, its need and the memory.
    """
    worst = max(configs, key=lambda config: min_training_bytes(config, *shape))
    need = min_training_bytes(worst, *shape)
    if 0 < limit_bytes < need:
        raise ConfigError(
            f"hidden_dim {worst.hidden_dim} with n_layers {worst.n_layers} and bidirectional {worst.bidirectional} "
            f"needs {need / 1e9:.1f} GB for its weights and their averages alone, and {where} has "
            f"{limit_bytes / 1e9:.1f} GB; choose smaller settings for a new study, such as "
            "--set 'hidden_dim=int(64,512,log)'"
        )


def check_heaviest(plan: StudyConfig, corpus: Corpus, limit_bytes: int, where: str) -> list[TrialConfig]:
    """Return the heaviest configurations of a study, which fit; the last two arguments are those of `check_memory`.

    Raises:
        ConfigError: One does not fit.
    """
    heavy = heaviest_configs(plan.space, plan.baseline, **plan.shared_settings)
    check_memory(heavy, (corpus.trained_words, corpus.embedding_dim, len(corpus.classes)), limit_bytes, where)
    return heavy


def resolve_resources(
    resources: TrialResources,
    plan: StudyConfig,
    machine: Machine,
    corpus: Corpus,
    kept: Mapping[str, Any],
) -> tuple[TrialResources, GpuShareChoice | None]:
    """Return the resources of a trial, and for `auto` the choice for these GPUs.

    A study is probed once, and again if the memory did not suffice: another program may have used it.

    Args:
        resources: Resources from the command, which fit the machine.
        plan: Configuration of the study.
        machine: The machine that trains.
        corpus: The data.
        kept: The study's user attributes; empty for a new study.

    Raises:
        ConfigError: The heaviest configurations need more memory.
    """
    gpus = [gpu.bytes for gpu in machine.gpu_list] if resources.gpus_per_trial else []
    limit, where = (max(gpus), "the largest GPU") if gpus else (machine.memory_bytes, "this machine")
    heavy = check_heaviest(plan, corpus, limit, where)
    if not resources.auto:
        return resources, None
    known = kept.get(GPU_SHARE)
    if known and known["peak_bytes"] < known["smallest_bytes"]:
        peak_bytes = known["peak_bytes"]
    else:
        peak_bytes = profiling.probe_gpu(heavy, corpus)
    choice = choose_share(peak_bytes, machine.gpu_list, machine.cpus // resources.cpus_per_trial)
    return dataclasses.replace(resources, gpus_per_trial=choice.share, auto=False), choice
