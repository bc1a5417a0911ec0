"""The verb `plan`: time, memory and disk space of a search, whether they suffice, and options that would fit."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

from core.data.corpus import TRAIN
from core.errors import ConfigError
from core.nn.model_size import max_checkpoint_bytes
from core.plain_baseline import max_fit_bytes
from tuning.forecast.probe import MAX_PROCESSES, PROBE_SECONDS, Probe, probe
from tuning.forecast.simulation import Forecast, Range, forecast
from tuning.formatting import enumerated, format_duration, format_gigabytes, format_megabytes
from tuning.journal.folder import JOURNAL
from tuning.journal.reader import read_journal
from tuning.journal.records import ENDED, TrialRecord, counted_trials, reopened, study_attributes, to_record
from tuning.journal.writer import spec_differences
from tuning.planned_search import check_search, plan_search
from tuning.resources.allocation import heaviest_configs
from tuning.resources.machine import Machine
from tuning.run_options import RunOptions
from tuning.scheduling.asha import FAILED
from tuning.scheduling.budget import MAX_BUDGET_SECONDS
from tuning.scheduling.schedule import GOAL, KEPT_PAUSED, SAME_FAILURES, common_failure
from tuning.scheduling.study_config import StudyConfig

RAY_BYTES = 500_000_000
"""Memory in bytes of Ray's processes and the driver."""
RAY_IN_A_WORKER_BYTES = 90_000_000
"""Memory in bytes that Ray adds to a worker."""
EPOCH_BYTES = 700
"""Size in bytes of an epoch in the journal, without its predictions."""
PACKED = 1.85
"""Maximum ratio of the size of packed predictions to their information, from 20,000 sentences on: base64 has 4/3, zlib
the rest. Fewer sentences need up to 120 bytes more."""
TRIAL_BYTES = 2_500
"""Size in bytes of a trial's settings and result in the journal."""
EVALUATION_BYTES = 44
"""Peak memory in bytes of an evaluation, per sentence and class: the outputs, and their rounding in float64."""
CHECKPOINTS = 3
"""Number of checkpoints of a trial on the disk: two, and one being written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationOutputs:
    """Sizes of an epoch's outputs for the validation sentences, of which there may be a hundred thousand."""

    sentences: int
    classes: int

    @property
    def packed_bytes(self) -> int:
        """Maximum size of an epoch's predictions in the journal; for few sentences, without 120 bytes."""
        return math.ceil(self.sentences * math.log2(max(2, self.classes)) / 8 * PACKED)

    @property
    def probability_bytes(self) -> int:
        """Size of the probabilities of an epoch, two bytes each."""
        return 2 * self.sentences * (self.classes - 1)

    @property
    def evaluation_bytes(self) -> int:
        """Peak memory of an epoch's evaluation, without that of the model."""
        return EVALUATION_BYTES * self.sentences * self.classes

    def checkpoint_bytes(self, epochs: int) -> int:
        """Size of all predictions and of the best epoch's probabilities in a checkpoint."""
        return epochs * self.sentences * (1 if self.classes <= 256 else 4) + self.probability_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastReport:
    """Result of `sentune plan`."""

    name: str
    """Name of the study."""
    plan: StudyConfig
    done: int
    """Number of trials that the study has already finished."""
    started: int
    """Number of trials that the study has; `run` completes them all."""
    workers: int
    """Number of parallel trials."""
    share: str
    """Resources of each trial, such as `1 core`."""
    forecast: Forecast
    probe: Probe
    memory_bytes: int
    """Memory of the machine; 0 if unknown."""
    checkpoint_bytes: int
    """Size of the largest checkpoint."""
    outputs: "ValidationOutputs"
    shared_bytes: int
    """Memory of the corpus, which all workers share, and of the process that fits the plain baseline."""

    @property
    def worker_bytes(self) -> int:
        """Memory of a worker with the heaviest configuration.

        The steps of a probe store neither the best weights nor, for a GPU, the copy for the disk. Both are at most the
        size of a checkpoint. Nor do the steps evaluate the validation sentences.
        """
        stored = self.checkpoint_bytes + self.outputs.evaluation_bytes
        return self.probe.peak_bytes + stored + RAY_IN_A_WORKER_BYTES

    @property
    def total_bytes(self) -> int:
        """Memory of all workers, the corpus, the plain baseline's fit, Ray and the driver."""
        return self.workers * self.worker_bytes + self.shared_bytes + RAY_BYTES

    @property
    def disk_bytes(self) -> int:
        """Maximum disk space during the search; the study remains afterwards."""
        paused = KEPT_PAUSED * self.plan.parallelism * len(self.forecast.rungs)
        trials = min(self.plan.n_trials, self.workers + paused)
        return self.study_bytes + trials * CHECKPOINTS * self.checkpoint_bytes

    @property
    def study_bytes(self) -> int:
        """Maximum size of the study's journal and stored probabilities: each epoch may be its trial's best so far."""
        an_epoch = EPOCH_BYTES + self.outputs.packed_bytes + self.outputs.probability_bytes
        epochs = self.plan.n_trials * self.plan.epochs
        return self.plan.n_trials * TRIAL_BYTES + (epochs + 2) * an_epoch  # with baseline, labels

    def warnings(self) -> list[str]:
        """Return one line for each limit that may be exceeded, with options that would fit."""
        found = []
        high, budget = self.forecast.seconds.high, self.plan.budget.seconds
        if budget is not None and high > budget:
            fit = self.done + int((self.plan.n_trials - self.done) * budget / high)
            limit = f"--time-budget {format_duration(budget)}"
            larger = f"--time-budget {round_up(high)}" if high <= MAX_BUDGET_SECONDS else "no --time-budget"
            fewer = f"--trials {fit}, or " if fit >= self.started else ""  # a study completes the trials that it has
            found.append(
                f"the search may not fit {limit}; pass {fewer}{larger}"
                if fit > self.done
                else f"not even one {'more ' if self.done else ''}trial fits {limit}; pass {larger}"
            )
        if 0 < self.memory_bytes < self.total_bytes:
            fit = max(0, (self.memory_bytes - self.shared_bytes - RAY_BYTES) // self.worker_bytes)
            smaller = "choose smaller settings for a new study, such as --set 'hidden_dim=int(32,128)'"
            advice = f"pass --workers {fit}" if fit else smaller
            memory = format_gigabytes(self.memory_bytes)
            found.append(f"the search may not fit the machine's memory of {memory}; {advice}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `plan --format json`."""
        return {
            "study": self.name,
            "trials": self.plan.n_trials,
            "trials_done": self.done,
            "workers": self.workers,
            "parallelism": self.plan.parallelism,
            "epochs_per_trial": self.plan.epochs,
            "epoch_sentences": self.plan.epoch_sentences,
            "rungs": list(self.forecast.rungs),
            "epochs_without_stopping": self.forecast.whole_epochs,
            "epochs": self.forecast.epochs.to_dict(0),
            "seconds": self.forecast.seconds.to_dict(1),
            "probe": {"settings": self.probe.count, "seconds": round(self.probe.seconds, 1)},
            "memory_bytes": {"worker": self.worker_bytes, "all": self.total_bytes, "machine": self.memory_bytes},
            "disk_bytes": {"running": self.disk_bytes, "afterwards": self.study_bytes},
            "warnings": self.warnings(),
        }

    def __str__(self) -> str:
        plan, forecast = self.plan, self.forecast
        begun = f", {self.done} of them ended," if self.done else ""
        long = "" if plan.epoch_sentences is None else f" of {plan.epoch_sentences:,} sentences"
        rungs = "none"
        if plan.stopping is not None and forecast.rungs:
            after = enumerated("epoch", forecast.rungs)
            rungs = f"asha pauses trials after {after}, 1 in {plan.stopping.reduction} continues"
        lines = [
            f"study {self.name}: {plan.n_trials} trial{'s' * (plan.n_trials != 1)}{begun} of up to "
            f"{plan.epochs} epochs{long}, {self.workers} in parallel with {self.share} each, "
            f"parallelism {plan.parallelism}",
            f"stopping: {rungs}",
            f"epochs: at most {forecast.whole_epochs}, {spread(forecast.epochs, '{:.0f}'.format)} expected",
            f"time: {spread(forecast.seconds, round_up)}, by a probe of {self.probe.count} configurations in "
            f"{self.probe.seconds:.0f} s",
            f"memory: at most {format_gigabytes(self.worker_bytes)} per worker, "
            f"{format_gigabytes(self.total_bytes)} in total"
            + (f" of {format_gigabytes(self.memory_bytes)}" if self.memory_bytes else ""),
            f"disk: {format_megabytes(self.disk_bytes)} while it runs, {format_megabytes(self.study_bytes)} afterwards",
        ]
        return "\n".join([*lines, *(f"warning: {line}" for line in self.warnings())])


@dataclass(frozen=True, kw_only=True, slots=True)
class NothingToTrain:
    """Result of `sentune plan` for a study of which `run` trains nothing: it shows the table, or why it has stopped."""

    name: str
    """Name of the study."""
    plan: StudyConfig
    done: int
    """Number of trials that the study has finished."""
    ending: str
    """How the study has ended, in the words of `run`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `plan --format json`, without what only a probe measures."""
        nothing = Range(low=0, middle=0, high=0).to_dict(0)
        study = {"study": self.name, "trials": self.plan.n_trials, "trials_done": self.done}
        stopped = [self.ending] if self.ending.startswith("has stopped") else []
        return {**study, "epochs": nothing, "seconds": nothing, "warnings": stopped}

    def __str__(self) -> str:
        return f"study {self.name} {self.ending}; run would train nothing"


def ending_of(existing: Mapping[str, Any], plan: StudyConfig, records: Sequence[TrialRecord]) -> str | None:
    """Return how a study has ended, in the words of `run`; None if trials are left to train.

    A study that a target or a patience has ended continues with another goal.

    Args:
        existing: Attributes of the study; empty if there is none.
        plan: Configuration of the study.
        records: Its trials.
    """
    counted = counted_trials(existing)
    if any(record.ended is None for record in records[:counted]):
        return None
    if counted is not None:
        return f"has ended: {existing['early_end']['reason']}" if existing.get(GOAL) == plan.goal else None
    n = len(records)
    return f"is complete: {n} trial{'s' * (n != 1)}" if n == plan.n_trials else None


def spread(interval: Range, show: Callable[[float], str]) -> str:
    """Return a range such as `about 61 (45 to 83)`."""
    return f"about {show(interval.middle)} ({show(interval.low)} to {show(interval.high)})"


def round_up(seconds: float) -> str:
    """Return a duration, rounded up to the precision of a forecast: 754 -> '12m40s', 7541 -> '2h6m'."""
    step = 1 if seconds < 60 else 10 if seconds < 1800 else 60
    return format_duration(math.ceil(seconds / step) * step)


def share_text(cpus: int, gpus: float) -> str:
    """Return a text such as `1 core and 0.5 of a GPU`."""
    cores = f"{cpus} core{'s' if cpus > 1 else ''}"
    return f"{cores} and {gpus:g} of a GPU" if gpus else cores


def make_forecast(options: RunOptions, say: Callable[[str], None]) -> ForecastReport | NothingToTrain:
    """Probe the search for half a minute, then forecast it, unless nothing is left to train.

    Args:
        options: The options of `plan`.
        say: Called with one line before each slow step.

    Raises:
        UserError: A check of `run` fails, or a process of the probe died.
    """
    if options.address is not None:
        raise ConfigError("plan measures configurations on this machine only; leave out --address")
    machine = Machine.here(gpus=bool(options.resources.gpus_per_trial))
    existing = study_attributes(options.folder)
    fits = options.resources.max_parallel(machine)
    check_search(options, fits, existing)
    say = cache(say)  # for both times the data may be read
    search = plan_search(options, machine, fits, existing, say)
    if existing and (differences := spec_differences(existing["spec"], search.spec)):
        say(f"study {options.folder.name!r} is another search ({differences[0]}); choose another --name for this one")
        existing = {}
        search = plan_search(options, machine, fits, existing, say)
    trials = read_journal(options.folder / JOURNAL)[1] if existing else []
    records = [to_record(trial) for trial in trials]
    done = sum(record.state in ENDED for record in records)
    plan = dataclasses.replace(search.config, n_trials=max(search.config.n_trials, len(trials)))
    kept = records if existing.get(GOAL) == plan.goal else [to_record(reopened(trial)) for trial in trials]
    cause = common_failure(trials)
    stopped = f"has stopped: the first {SAME_FAILURES} trials all failed with one cause ({cause}); fix the cause"
    ending = f"{stopped}, and choose another --name" if cause else None
    if ending := ending or ending_of(existing, plan, records):
        return NothingToTrain(name=options.folder.name, plan=plan, done=done, ending=ending)
    if search.choice is not None:
        say(str(search.choice))
    corpus, resources = search.corpus, search.resources
    workers = min(search.fits, options.workers or search.fits, plan.n_trials)
    heavy = heaviest_configs(plan.space, plan.baseline, **plan.shared_settings)
    # The probe uses one GPU, with as many processes as share it.
    shared = resources.trials_per_gpu if resources.gpus_per_trial else workers
    side_by_side = min(workers, shared, MAX_PROCESSES)
    say(f"measuring configurations for about {PROBE_SECONDS:.0f} s, {side_by_side} in parallel ...")
    found = probe(
        plan,
        heavy,
        search.data,
        options.cache_dir,
        side_by_side=side_by_side,
        threads=resources.cpus_per_trial,
        device="cuda:0" if resources.gpus_per_trial else "cpu",
    )
    shape = (corpus.trained_words, corpus.embedding_dim, len(corpus.classes))
    outputs = ValidationOutputs(sentences=len(corpus.validation()), classes=len(corpus.classes))
    train_tokens = int(corpus.lengths()[corpus.indices(TRAIN)].sum())
    models = len(corpus.fold_corpora())
    weights = models * max(max_checkpoint_bytes(config, *shape) for config in heavy)
    return ForecastReport(
        name=options.folder.name,
        plan=plan,
        done=done,
        started=len(trials),
        workers=workers,
        share=share_text(resources.cpus_per_trial, resources.gpus_per_trial),
        forecast=forecast(plan, found.costs, workers, trained_scores(kept, plan.epochs)),
        probe=found,
        memory_bytes=machine.memory_bytes,
        checkpoint_bytes=weights + outputs.checkpoint_bytes(plan.epochs),
        outputs=outputs,
        shared_bytes=corpus.n_bytes + max_fit_bytes(train_tokens, outputs.sentences, len(corpus.classes)),
    )


def trained_scores(records: Sequence[TrialRecord], epochs: int) -> dict[int, list[float]]:
    """Return by trial the best score after each epoch that needs no training: all of a trial that cannot continue.

    A trial that failed, was ended by `--patience` or copies another one never continues. A stopped one may.

    Args:
        records: Trials of an existing study.
        epochs: Maximum number of epochs of a trial.
    """
    trained = {}
    for record in records:
        scores = list(accumulate((epoch.score for epoch in record.epochs), max))
        if record.copy_of is not None:  # it is at no rung
            scores = [FAILED] * epochs
        elif record.state in ("COMPLETE", "FAIL"):
            last = scores[-1] if scores and record.state == "COMPLETE" else FAILED
            scores += [last] * (epochs - len(scores))
        trained[record.number] = scores
    return trained
