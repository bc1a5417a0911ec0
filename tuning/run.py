"""START HERE: the verb `run`: data, journal, search, table. Running the same command again continues the study."""

import contextlib
import dataclasses
import re
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console

from core.data.audit import MIN_VALIDATION, render_audit
from core.data.corpus import TEST, TRAIN
from core.errors import ConfigError
from core.io.text import redact_uris, without_folders
from tuning.analysis.best import table_of
from tuning.analysis.filters import RowFilter
from tuning.backend.background_ray import IMPORTING, BackgroundRay
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.storage import check_storage
from tuning.console import ASSESSING, cache_option, command_line, in_callers_terms, is_terminal, print_note, say_if_slow
from tuning.journal.folder import JOURNAL, missing_files
from tuning.journal.predictions import copied_from, pack_labels
from tuning.journal.reader import read_journal
from tuning.journal.records import ENDED, counted_trials, recorded_epochs, study_attributes, to_record
from tuning.journal.writer import StudyJournal, open_study
from tuning.plain_fit import PlainFit
from tuning.planned_search import PlannedSearch, check_search, plan_search
from tuning.resources.allocation import GPU_SHARE, check_heaviest
from tuning.resources.machine import Machine
from tuning.run_options import AUTO, RunOptions
from tuning.scheduling.budget import EarlyEnd
from tuning.scheduling.samplers import SAMPLERS
from tuning.scheduling.schedule import Callback, Schedule, reopen_trials
from tuning.scheduling.study_config import study_id
from tuning.scheduling.virtual_cost import CorpusShape, virtual_cost
from tuning.space.initial_trials import initial_trials
from tuning.tracking.progress_display import ProgressDisplay
from tuning.tracking.progress_state import SearchProgress
from tuning.tracking.progress_text import TITLE_WIDTH, wrap_titled
from tuning.tracking.remaining_time import RemainingTime
from tuning.tracking.tensorboard import TensorBoardCallback

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tuning.backend.checkpoint_sync import CheckpointStore
    from tuning.backend.cluster import Cluster  # imports Ray

SMALL = 2000
"""Number of training sentences below which validation in folds is suggested: on 200 validation sentences, the selection
bias of the best trial is 3 to 4 points (results/reference/selection_bias.md)."""
NARROW = 50
"""Width of word vectors up to which wider ones are suggested."""
WIDER = "the word vectors have {} dimensions, and more may gain points; pass --vectors {}, and another --name"
WIDER_ENGLISH = "glove-300d (862 MB, fetched once) or --vectors fasttext (1.5 GB)"
MANY_WORKERS = 8
"""Parallelism from which too few trials for the sampler are reported."""
FEW_TRIALS = (
    "{} trials on {} virtual workers begin before the sampler has results to learn from; pass --trials {}, or a "
    "smaller --parallelism and another --name"
)
NO_STORAGE = (
    "checkpoints stay on each trial's node, so a trial that continues on another node starts again from its first "
    "epoch; pass --storage to keep them"
)

BASELINE_SECONDS = 60
"""Maximum time in seconds after a time budget for the fit of the plain baseline, which began with the first trial."""

Session = Callable[[], AbstractContextManager[Any]]
"""Context manager that yields module ray once Ray has started."""


class SearchEnd(NamedTuple):
    """End of a command that searches."""

    finished: bool
    """True if the study is complete or a budget has ended it, False if it was interrupted."""
    hints: list[str]
    """Lines for below the table on how to continue the study."""


def run_study(options: RunOptions) -> bool:
    """Run or continue a study and print its table; return whether it is finished, as `search_study`."""
    end = search_study(options)
    with say_if_slow(ASSESSING, _say):
        shown, ending = RowFilter(top=10), _data_options(options)
        table = table_of(options.folder, shown, "table", end.hints, finished=end.finished, ending=ending)
    _say(table)
    return end.finished


def _data_options(options: RunOptions) -> str:
    """Return the options with which another command on the study finds the data that this one has used."""
    moved = missing_files(study_attributes(options.folder)["spec"]["data"])
    paths = "".join(f" --{name} {shlex.quote(options.data[name])}" for name in moved)
    return paths + cache_option(options.cache_dir)


def search_study(options: RunOptions) -> SearchEnd:
    """Run or continue a study, and print its progress.

    Raises:
        UserError: The options, the data or the study have a problem that the user can fix.
    """
    began, interrupt = time.monotonic(), InterruptHandler()
    if options.storage is not None:
        check_storage(options.storage)
    if options.address is None:
        machine = Machine.here(gpus=bool(options.resources.gpus_per_trial))
        fits = options.resources.max_parallel(machine)
        with interrupt.installed(), BackgroundRay(machine, interrupt.on_ray_lost) as ray:
            # A terminal shows progress.
            session = ray.session if is_terminal(sys.stdout) else partial(ray.session, _say)
            return _run(options, machine, fits, began, interrupt, session, ray.start)
    if options.resources.auto:
        raise ConfigError(
            "--gpus-per-trial auto needs a GPU of this machine; pass a fraction such as 0.5 with --address"
        )
    from tuning.backend.cluster import check_nodes, join_cluster

    interrupt.kept = "nothing is lost; if the cluster is gone, start it again"
    with join_cluster(options.address) as cluster, interrupt.installed():
        fits = cluster.max_parallel(options.resources)
        memory = check_nodes(cluster, options.storage, print_note, gpu=bool(options.resources.gpus_per_trial))
        session = partial(cluster.monitored, interrupt.on_ray_lost)
        return _run(options, dataclasses.replace(cluster, memory_bytes=memory), fits, began, interrupt, session)


def _run(
    options: RunOptions,
    machine: "Machine | Cluster",
    fits: int,
    began: float,
    interrupt: InterruptHandler,
    session: Session,
    start_ray: Callable[[], None] = lambda: None,
) -> SearchEnd:
    """Run a study on a machine or a cluster on which `fits` trials run in parallel.

    Args:
        options: Options of `run`.
        machine: Machine or cluster.
        fits: Number of parallel trials.
        began: Start of the command, by time.monotonic.
        interrupt: The installed handler.
        session: Context manager that yields module ray.
        start_ray: Called early, if the study will probably need Ray.
    """
    folder = options.folder
    existing = study_attributes(folder)
    own_machine = machine if isinstance(machine, Machine) else None
    check_search(options, fits, existing)
    if _has_work(options, existing):
        start_ray()
    search = plan_search(options, own_machine, fits, existing, _say)
    if not isinstance(machine, Machine) and not options.resources.gpus_per_trial:
        check_heaviest(search.config, search.corpus, machine.memory_bytes, "the largest node of the cluster")
    _describe(options, existing, search)
    corpus, resources = search.corpus, search.resources
    opened = open_study(folder, search.spec, _new_attributes(search), searches=True)
    with opened as journal, contextlib.ExitStack() as extras:
        # Trials are never removed: a smaller --trials than the study has completes these.
        plan = dataclasses.replace(search.config, n_trials=max(search.config.n_trials, len(journal.trials())))
        key = study_id(folder.name, journal.attributes)  # this command's spec may have another path of the data
        n_ended = _n_ended(journal.trials())
        reopen_trials(journal, plan)
        callbacks: list[Callback] = []
        if options.tensorboard:
            files = TensorBoardCallback(journal, plan.space.searched_fields, print_note)
            callbacks.append(extras.enter_context(contextlib.closing(files)))
        plain = PlainFit(journal, search.data, corpus.fingerprint, plan.metric, options.cache_dir, print_note)
        callbacks.append(extras.enter_context(plain))
        if search.choice is not None:
            journal.set_study_attr(GPU_SHARE, dataclasses.asdict(search.choice))
        cost = virtual_cost(plan.space, plan.shared_settings, CorpusShape.of(corpus, plan.epoch_sentences))
        retry_oom = resources.retry_oom and resources.gpus_per_trial < 1
        schedule = Schedule(journal, plan, cost, callbacks, interrupt, retry_oom=retry_oom)
        if schedule.has_job():
            if any(record.epochs or record.ended for record in journal.records()):
                # An earlier command may have opened all of them again.
                n_ended = max(n_ended, _n_ended(journal.trials()))
                _say(f"continuing study {folder.name}: {n_ended} of {plan.n_trials} trials have ended")
            journal.set_study_attr("early_end", None)
            ending = _search(options, schedule, interrupt, search, session, began, key)
        elif (ending := schedule.early_end) is not None:
            _say(f"study {folder.name} has ended: {ending.reason}")
        else:
            n_trials = len(journal.trials())
            _say(f"study {folder.name} is complete: {n_trials} trial{'s' * (n_trials != 1)}")
        complete = _is_complete(schedule)
        # Before the waits below: a command that is killed there has ended its search.
        journal.set_study_attr("early_end", dataclasses.asdict(ending) if ending else None)
        if complete or ending is not None:
            with say_if_slow("waiting for the plain baseline ...", _say):
                plain.finish(BASELINE_SECONDS if ending and ending.by_time else None)
        if (options.address or options.storage) and (complete or schedule.has_ended_early()):
            # By each command: an earlier one may have been killed.
            _checkpoint_store(options, key).remove_all(machine, print_note)
        hints = [] if ending is None else _resume_hints(ending, journal)
        return SearchEnd(complete or ending is not None, hints)


def _describe(options: RunOptions, existing: Mapping[str, Any], search: PlannedSearch) -> None:
    """Print the audit of the data, the values that sentune has chosen, and hints."""
    plan, corpus = search.config, search.corpus
    # Only the warnings name options; the user's sentences may look like some.
    facts, title, warnings = render_audit(corpus.source["audit"], plan.metric).partition("\nwarnings ")
    if re.search("(pass|omit|with) --", warnings):
        warnings += f"\n{'':<{TITLE_WIDTH}}such an option is for a new study: pass another --name, too"
    audit = facts + title + in_callers_terms(warnings)  # before an option and its value part
    print(wrap_titled(audit, shutil.get_terminal_size().columns) if is_terminal(sys.stdout) else audit, flush=True)
    # Otherwise the audit warns, or a class is too small for five folds.
    sizes = np.bincount(corpus.labels[corpus.split != TEST], minlength=len(corpus.classes))
    enough = len(corpus.validation()) >= MIN_VALIDATION and sizes.min() >= 5
    free = not existing and plan.warm_start is None  # otherwise other data are refused
    if free and corpus.folds is None and enough and len(corpus.indices(TRAIN)) < SMALL:
        rest = "evaluates each trial on all training sentences, in 5 times the time; pass another --name, too"
        _say(f"small data  --validation folds:5 {rest}")
    if free and corpus.vectors is not None and corpus.embedding_dim <= NARROW:
        english = corpus.source["vectors"] == "glove-50d"
        print_note(WIDER.format(corpus.embedding_dim, WIDER_ENGLISH if english else "FILE with wider ones"))
    if search.length.reason:
        _say(f"epochs      {search.length}")
    if options.precision == AUTO:
        recorded = existing and existing["spec"]["precision"] == plan.precision  # another device is refused soon
        _say(f"precision   {plan.precision} ({'as recorded in the study' if recorded else '--precision chooses'})")
    if (first := plan.first_trials.to_dict()) and first["trials"]:
        left_out = plan.first_trials.left_out
        unfit = f"; {left_out} left out, not in the space" if left_out else ""
        hint = "" if existing else " (--first-trials chooses)"
        _say(f"first trials  {first['trials']} from {first['source']}{hint}{unfit}")
    if search.choice is not None:
        _say(str(search.choice))
    n_first = len(initial_trials(plan.space, plan.baseline)) + len(plan.first_trials.settings)
    # At least the first `parallelism` trials and `startup` more begin before the sampler has learned.
    few = plan.parallelism >= MANY_WORKERS and n_first < plan.n_trials <= plan.parallelism + plan.startup
    if free and few and SAMPLERS[plan.sampler].learns:
        print_note(FEW_TRIALS.format(plan.n_trials, plan.parallelism, 10 * plan.parallelism))
    if search.remark:
        print_note(search.remark)


def _new_attributes(search: PlannedSearch) -> dict[str, Any]:
    """Return the user attributes of a new study."""
    corpus = search.corpus
    return {
        "id": uuid.uuid4().hex,
        "validation": {"labels": pack_labels(corpus.labels[corpus.validation()]), "classes": list(corpus.classes)},
        "audit": corpus.source["audit"],
        "command": without_folders(redact_uris(command_line())),
        "inputs": corpus.source["inputs"],
        **search.prior_trials,
        "vocabulary": corpus.trained_words,
        "test_fingerprint": corpus.test_fingerprint(),
    }


def _has_work(options: RunOptions, existing: Mapping[str, Any]) -> bool:
    """Return whether the study probably has trials to train; if not, Ray starts only when a trial needs it."""
    trials = read_journal(options.folder / JOURNAL)[1] if existing else []
    return counted_trials(existing) is None and _n_ended(trials) < max(options.trials, len(trials))


def _n_ended(trials: "Iterable[FrozenTrial]") -> int:
    return sum(to_record(trial).state in ENDED for trial in trials)


def _resume_hints(ending: EarlyEnd, journal: StudyJournal) -> list[str]:
    """Return lines on how to continue a study that a budget has ended."""
    if ending.by_time:
        return ["run the same command again to continue with a new time budget:", f"  {command_line()}"]
    counted = sum(len(record.epochs) for record in journal.records()[: ending.n_trials] if record.copy_of is None)
    own = (trial for trial in journal.trials() if copied_from(trial.user_attrs["origin"]) is None)
    hidden = sum(len(recorded_epochs(trial)) for trial in own) - counted
    later = f"; the epochs trained after this end ({hidden}) count then, too" if hidden else ""
    return [f"pass another --target or --patience-trials, or none, to continue the study{later}"]


def _search(
    options: RunOptions,
    schedule: Schedule,
    interrupt: InterruptHandler,
    search: PlannedSearch,
    session: Session,
    began: float,
    key: str,
) -> EarlyEnd | None:
    """Search; return the budget that ended it before all trials were done; None otherwise."""
    with IMPORTING:
        from tuning.backend.tuner import RayBackend, run_schedule

    plan, records = schedule.config, schedule.store.records()
    workers = min(search.fits, options.workers or search.fits)
    checkpoints = _checkpoint_store(options, key)
    if checkpoints.on_node and not checkpoints.storage:
        _say(NO_STORAGE)
    seconds = None if plan.budget.seconds is None else plan.budget.seconds - (time.monotonic() - began)
    state = SearchProgress(
        records=records,
        remaining=RemainingTime(config=plan, cost=schedule.cost, workers=workers),
        searched=plan.space.searched_fields,
        budget_seconds=seconds,
    )
    progress = ProgressDisplay(Console(highlight=False), state)
    schedule.callbacks.append(progress)
    interrupt.before_exit = progress.__exit__  # a live display hides the cursor
    backend = RayBackend(session=session, resources=search.resources, workers=workers, train=checkpoints.run_trial)
    with progress, interrupt.time_limit(seconds, plan.budget.timed_out):
        ending = run_schedule(schedule, search.corpus, backend, interrupt)
    return None if ending and ending.by_time and _is_complete(schedule) else ending


def _checkpoint_store(options: RunOptions, key: str) -> "CheckpointStore":
    """Return the store of the trials' checkpoints."""
    with IMPORTING:
        from tuning.backend.checkpoint_sync import CheckpointStore  # imports Ray

    return CheckpointStore(study=key, on_node=options.address is not None, storage=options.storage)


def _is_complete(schedule: Schedule) -> bool:
    trials = schedule.store.trials()
    return len(trials) >= schedule.config.n_trials and all(trial.state.is_finished() for trial in trials)


def _say(text: str) -> None:
    print(in_callers_terms(text), flush=True)
