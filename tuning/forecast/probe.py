"""A short probe of a search: part of an epoch of the settings that it would try, as many at once as it would run.

The settings are the study's own first ones, which depend on no outcome, and more that are drawn from the space. Each
gets the same time; seconds a token then scale to the corpus. Side by side, because two trials share memory and caches.
"""

import dataclasses
import itertools
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from core.config import TrialConfig
from core.data.load import load_corpus
from core.errors import UserError
from tuning.forecast.simulation import EpochCosts
from tuning.resources.profiling import PROBE_DIED, measure_epoch_seconds, training_steps
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.suggester import Suggester

PROBE_SECONDS = 26.0
"""From its start until the last setting is measured; then come single steps of the heaviest ones, for their memory."""
OTHERS = 16
"""Settings drawn at random."""
AT_ONCE = 16
"""Processes, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What was measured."""

    costs: EpochCosts
    peak_bytes: int
    """Memory of a process that trains the heaviest settings: torch, corpus, weights and activations."""
    seconds: float
    """That the probe took."""


def settings_to_try(plan: StudyConfig, others: int = OTHERS) -> tuple[list[TrialConfig], list[TrialConfig]]:
    """The study's own first trials as far as they depend on no outcome, and random ones where it has more trials."""
    own = _suggested(plan, min(plan.n_trials, plan.window))
    wanted = 0 if plan.n_trials <= len(own) else others
    blind = dataclasses.replace(plan, sampler="random", window=len(own) + others + 1)
    return own, _suggested(blind, len(own) + wanted)[len(own) :]


def _suggested(plan: StudyConfig, count: int) -> list[TrialConfig]:
    suggester, trials = Suggester(plan), list[FrozenTrial]()
    for _ in range(count):
        new = suggester.suggest(trials)
        trials.append(
            create_trial(
                state=TrialState.RUNNING,
                params=new.params,
                distributions=plan.space.distributions(new.params),
                user_attrs={"config": new.config.to_dict(), "origin": new.origin},
            )
        )
    return [TrialConfig.from_dict(trial.user_attrs["config"]) for trial in trials]


def probe(
    plan: StudyConfig,
    heavy: Sequence[TrialConfig],
    data: Mapping[str, Any],
    cache_dir: Path | None,
    *,
    side_by_side: int,
    threads: int,
    device: str,
    seconds: float = PROBE_SECONDS,
) -> Probe:
    """Measure in processes of their own.

    Args:
        plan: what is searched.
        heavy: from tuning.resources.allocation.heaviest_configs; one process trains them for its memory.
        data: arguments of load_corpus; the corpus is in the cache.
        cache_dir: of the data cache.
        side_by_side: processes, as many as trials that will share a machine or a GPU.
        threads: of each.
        device: "cpu" or a CUDA device.
        seconds: to spend, the start of the processes included.

    Raises:
        UserError: a process died, or had too little memory, its own or a GPU's.
    """
    began = time.time()
    own, others = settings_to_try(plan)
    count = min(side_by_side, AT_ONCE, len(own) + len(others))
    hands = [[*own, *others][at::count] for at in range(count)]
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as elsewhere:
        work = [
            elsewhere.submit(
                _probe_process,
                configs=hand,
                heavy=() if at else heavy,
                data=data,
                cache_dir=cache_dir,
                threads=threads,
                device=device,
                began=began,
                until=began + seconds,
            )
            for at, hand in enumerate(hands)
        ]
        try:
            found = [each.result() for each in work]
        except (BrokenProcessPool, MemoryError) as error:
            raise UserError(PROBE_DIED) from error
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise
            raise UserError(PROBE_DIED) from error
    dealt = itertools.zip_longest(*(costs for costs, _, _ in found))
    in_order = [cost for row in dealt for cost in row if cost is not None]
    return Probe(
        costs=EpochCosts(
            own=tuple(in_order[: len(own)]),
            others=tuple(in_order[len(own) :]),
            start=max(start for _, start, _ in found),
        ),
        peak_bytes=max(peak for _, _, peak in found),
        seconds=time.time() - began,
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
    until: float,
) -> tuple[list[float], float, int]:
    """In a process of its own: seconds of an epoch of each, seconds that its start took, and the most memory it held.

    Args:
        configs: to measure, each for its part of the time that is left.
        heavy: to take a single step of, with the longest sentences.
        data, cache_dir, threads, device: as in `probe`.
        began, until: when the probe began and measuring is to be over, as time.time() says it.
    """
    from core.nn.runtime import deterministic_kernels, retain_freed_memory, torch_threads

    corpus = load_corpus(**data, cache_dir=cache_dir, progress=lambda line: None)
    with torch_threads(threads), retain_freed_memory(), deterministic_kernels(device):
        costs, start = [], time.time() - began
        for at, config in enumerate(configs):
            left = max(0.0, until - time.time())  # a process that started late gives each less
            costs.append(measure_epoch_seconds(config, corpus, device, left / (len(configs) - at)))
        for config in heavy:
            next(training_steps(config, corpus, device, longest_first=True))
    return costs, start, _peak_bytes()


def _peak_bytes() -> int:
    """Most memory that this process held."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage begins with the peak of the process that started this one
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS
