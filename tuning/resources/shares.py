"""A study's shares of the machine: settings that it could never hold are refused, and `auto` becomes a number."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.config import TrialConfig
from core.data.corpus import Corpus
from core.errors import ConfigError
from tuning.resources.allocation import check_memory, heaviest
from tuning.resources.gpu import Choice, Probed, choose_share
from tuning.resources.machine import Machine, Shares
from tuning.scheduling.study import SearchPlan

GPU_SHARE = "gpu_share"
"""The study's user attribute that keeps how `auto` was decided."""


def settled(
    shares: Shares,
    plan: SearchPlan,
    machine: Machine,
    corpus: Corpus,
    kept: Mapping[str, Any],
    probe: Callable[[Sequence[TrialConfig], Corpus], Probed] | None = None,
) -> tuple[Shares, Choice | None]:
    """What a trial gets, and for `auto` how a probe chose it: once in a study's life.

    Args:
        shares: as the command says; they fit the machine.
        plan: for the heaviest settings that it can try.
        machine: where it runs.
        corpus: the data.
        kept: the study's user attributes; empty for a new one.
        probe: measures settings on a GPU; None for tuning.resources.gpu_probe's.

    Raises:
        ConfigError: the heaviest settings need more memory than there is, or there is no GPU to probe.
    """
    heavy = heaviest(plan.space, **plan.settings)
    gpus = [gpu.bytes for gpu in machine.gpu_list] if shares.gpus_per_trial else []
    limit, where = (max(gpus), "the largest GPU") if gpus else (machine.memory_bytes, "this machine")
    check_memory(heavy, (len(corpus.words), corpus.embedding_dim, len(corpus.classes)), limit, where)
    if not shares.auto:
        return shares, None
    if GPU_SHARE in kept:
        choice = Choice.from_dict(kept[GPU_SHARE])
    elif not machine.gpu_list:
        raise ConfigError("--gpus-per-trial auto needs a GPU on this machine to try: pass a share such as 0.5 instead")
    else:
        from tuning.resources.gpu_probe import probe_gpu

        trials_by_cpu = machine.cpus // shares.cpus_per_trial
        choice = choose_share((probe or probe_gpu)(heavy, corpus), machine.gpu_list, trials_by_cpu)
    return dataclasses.replace(shares, gpus_per_trial=choice.share, auto=False), choice
