"""The heaviest settings that a study can try, and what the weights of settings weigh."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.config import COST_ORDER, TrialConfig
from core.data.corpus import Corpus
from core.errors import ConfigError
from core.nn.model_size import _word_copies, min_training_bytes
from tuning.resources.gpu import GpuProbe, GpuShareChoice, choose_share
from tuning.resources.machine import Machine, TrialResources
from tuning.scheduling.study import StudyConfig
from tuning.space.expressions import Value
from tuning.space.initial_trials import initial_trials
from tuning.space.space import Dimension, Space

GPU_SHARE = "gpu_share"
"""The study's user attribute that keeps how `auto` was decided."""


def heaviest_configs(space: Space, **settings: Any) -> list[TrialConfig]:
    """The space's largest corner, and the trials that a study begins with where they are no smaller everywhere.

    Args:
        space: what is searched.
        settings: TrialConfig fields that all trials of the study share (SearchPlan.settings).
    """
    corner = space.to_config(space.resolve(_heaviest_value), **settings)
    first = [TrialConfig.from_dict({**entry, **settings}) for entry in initial_trials(space)]
    return [corner, *(c for c in first if _size(c) > _size(corner) or _word_copies(c) > _word_copies(corner))]


def _heaviest_value(dimension: Dimension) -> Value:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    distribution = dimension.distribution
    if isinstance(distribution, CategoricalDistribution):
        order = COST_ORDER.get(dimension.field, ())
        ranked = [value for value in order if value in distribution.choices]
        numbers = [value for value in distribution.choices if isinstance(value, int | float)]
        return ranked[0] if ranked else max(numbers) if numbers else distribution.choices[0]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.high


def _size(config: TrialConfig) -> int:
    """The order in which two configurations are compared: activations of a batch and layers' weights."""
    directions = 2 if config.bidirectional else 1
    width = config.hidden_dim * directions * config.n_layers
    return width * (config.batch_size * 20 + config.hidden_dim * 8)


def check_memory(configs: list[TrialConfig], shape: tuple[int, int, int], limit_bytes: int, where: str) -> None:
    """Refuse a space whose heaviest settings cannot be trained here at all.

    Args:
        configs: from `heaviest`.
        shape: (V, E, C): words, width of a word vector, classes.
        limit_bytes: memory of `where`; 0 where it is not known.
        where: such as `this machine`.

    Raises:
        ConfigError: naming the settings, what their weights need and what there is.
    """
    worst = max(configs, key=lambda config: min_training_bytes(config, *shape))
    need = min_training_bytes(worst, *shape)
    if 0 < limit_bytes < need:
        raise ConfigError(
            f"hidden_dim {worst.hidden_dim} with n_layers {worst.n_layers} and bidirectional {worst.bidirectional} "
            f"needs {need / 1e9:.1f} GB for its weights and their averages alone and {where} has "
            f"{limit_bytes / 1e9:.1f} GB: search smaller settings, such as --set 'hidden_dim=int(64,512,log)'"
        )


def resolve_resources(
    resources: TrialResources,
    plan: StudyConfig,
    machine: Machine,
    corpus: Corpus,
    kept: Mapping[str, Any],
    probe: Callable[[Sequence[TrialConfig], Corpus], GpuProbe] | None = None,
) -> tuple[TrialResources, GpuShareChoice | None]:
    """What a trial gets, and for `auto` how a probe chose it: once in a study's life.

    Args:
        shares: as the command says; they fit the machine.
        plan: for the heaviest settings that it can try.
        machine: where it runs.
        corpus: the data.
        kept: the study's user attributes; empty for a new one.
        probe: measures settings on a GPU; None for tuning.resources.profiling's.

    Raises:
        ConfigError: the heaviest settings need more memory than there is, or there is no GPU to probe.
    """
    heavy = heaviest_configs(plan.space, **plan.shared_settings)
    gpus = [gpu.bytes for gpu in machine.gpu_list] if resources.gpus_per_trial else []
    limit, where = (max(gpus), "the largest GPU") if gpus else (machine.memory_bytes, "this machine")
    check_memory(heavy, (len(corpus.words), corpus.embedding_dim, len(corpus.classes)), limit, where)
    if not resources.auto:
        return resources, None
    if GPU_SHARE in kept:
        choice = GpuShareChoice.from_dict(kept[GPU_SHARE])
    elif not machine.gpu_list:
        raise ConfigError("--gpus-per-trial auto needs a GPU on this machine to try: pass a share such as 0.5 instead")
    else:
        from tuning.resources.profiling import probe_gpu

        trials_by_cpu = machine.cpus // resources.cpus_per_trial
        choice = choose_share((probe or probe_gpu)(heavy, corpus), machine.gpu_list, trials_by_cpu)
    return dataclasses.replace(resources, gpus_per_trial=choice.share, auto=False), choice
