"""A short probe of a search: train part of an epoch of several configurations, as many in parallel as the search.

The configurations are the study's first ones, which depend on no result, and random ones from the space. Each gets the
same time, and seconds per token scale to the corpus. They run in parallel because trials share memory and caches.
"""

import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from optuna.trial import TrialState, create_trial

from core.config import TrialConfig
from core.data.load import load_corpus
from tuning.forecast.simulation import EpochCosts
from tuning.resources.gpu import is_gpu_out_of_memory
from tuning.resources.profiling import measure_epoch_seconds, run_processes, training_steps
from tuning.scheduling.samplers import random_params
from tuning.scheduling.study_config import StudyConfig
from tuning.scheduling.suggester import Suggester

PROBE_SECONDS = 26.0
"""Seconds from the start to the last measurement. Single steps of the heaviest configurations follow, for memory."""
MAX_OWN = 64
"""Maximum number of the study's own configurations: each takes at least a step, even after PROBE_SECONDS."""
OTHERS = 16
"""Number of random configurations."""
MAX_PROCESSES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Measurements of a probe."""

    costs: EpochCosts
    peak_bytes: int
    """Memory in bytes of a process that trains the heaviest configurations: torch, corpus, weights and activations."""
    seconds: float
    """Duration of the probe in seconds."""

    @property
    def count(self) -> int:
        """Number of configurations that were trained."""
        return len(self.costs.own) + len(self.costs.others)


def settings_to_try(plan: StudyConfig) -> tuple[list[TrialConfig], list[TrialConfig]]:
    """Return the study's first configurations, which depend on no result, and random ones if it has more trials."""
    own = _first_configs(plan)
    shared = plan.shared_settings
    draws = random_params(plan.space, plan.seed, OTHERS) if plan.n_trials > len(own) else []
    return own, [plan.space.to_config(params, **shared) for params in draws]


def _first_configs(plan: StudyConfig) -> list[TrialConfig]:
    """Return the given configurations, and those of the trials that start before any result is visible."""
    suggester, configs = Suggester(plan), list[TrialConfig]()
    for number in range(min(plan.n_trials, max(plan.parallelism, len(suggester.first)), MAX_OWN)):
        new = suggester.suggest([])
        configs.append(new.config)
        trial = create_trial(
            state=TrialState.RUNNING,
            params=new.params,
            distributions=plan.space.distributions(new.params),
            user_attrs={"config": new.config.to_dict(), "origin": new.origin},
        )
        trial.number = number
        suggester.add(trial)
    return configs


def probe(
    plan: StudyConfig,
    heavy: Sequence[TrialConfig],
    data: Mapping[str, Any],
    cache_dir: Path | None,
    *,
    side_by_side: int,
    threads: int,
    device: str,
) -> Probe:
    """Measure costs and memory in separate processes.

    Args:
        plan: Configuration of the study.
        heavy: Result of tuning.resources.allocation.heaviest_configs; one process trains them to measure its memory.
        data: Arguments of load_corpus; the corpus is in the cache.
        cache_dir: Folder of the data cache.
        side_by_side: Number of processes: the number of trials that will share a machine or a GPU.
        threads: Number of CPU threads per process.
        device: "cpu" or a CUDA device.

    Raises:
        UserError: A process died.
    """
    began = time.monotonic()  # the same clock in all processes of a machine
    own, others = settings_to_try(plan)
    count = min(side_by_side, len(own) + len(others))
    shares = [[*own, *others][at::count] for at in range(count)]
    work = partial(_probe_process, data=data, cache_dir=cache_dir, threads=threads, device=device, began=began)
    found = run_processes([partial(work, configs=each, heavy=() if at else heavy) for at, each in enumerate(shares)])
    rows = itertools.zip_longest(*(costs for costs, _, _ in found))
    in_order = [cost for row in rows for cost in row if cost is not None]
    return Probe(
        costs=EpochCosts(
            own=tuple(in_order[: len(own)]),
            others=tuple(in_order[len(own) :]),
            start=max(start for _, start, _ in found),
        ),
        peak_bytes=max(peak for _, _, peak in found),
        seconds=time.monotonic() - began,
    )


def _probe_process(
    *,
    configs: Sequence[TrialConfig],
    heavy: Sequence[TrialConfig],
    data: Mapping[str, Any],
    cache_dir: Path | None,
    threads: int,
    device: str,
    began: float,
) -> tuple[list[float], float, int]:
    """Return seconds per epoch of each configuration, seconds of this process's start, and its peak memory.

    The `configs` share PROBE_SECONDS from `began`; the `heavy` ones then train one step with the longest sentences and
    compute the weights to evaluate, in each fold.
    """
    from core.nn.runtime import deterministic_kernels, torch_threads, training_memory

    corpus = load_corpus(**data, cache_dir=cache_dir, progress=lambda line: None)
    with torch_threads(threads), training_memory(), deterministic_kernels(device):
        costs, start = [], time.monotonic() - began
        for at, config in enumerate(configs):
            left = max(0.0, began + PROBE_SECONDS - time.monotonic())  # less for each if the process started late
            costs.append(measure_epoch_seconds(config, corpus, device, left / (len(configs) - at)))
        for config in heavy:
            learners = [training_steps(config, member, device, most_memory=True) for member in corpus.fold_corpora()]
            try:
                for steps in learners:  # with validation in folds, a trial has all of them in memory at once
                    next(steps)
            except RuntimeError as error:
                if not is_gpu_out_of_memory(error):  # else this trial alone will fail; here the host's memory counts
                    raise
    return costs, start, _peak_bytes()


def _peak_bytes() -> int:
    """Return the peak memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage includes the peak of the parent process
        lines = status.read_text().splitlines()
        if found := [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]:  # not with gVisor
            return found[0]
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
