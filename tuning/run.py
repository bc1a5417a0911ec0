"""The verb `run`: data, journal, search, table. The same command again goes on where it was."""

import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from core.audit import render as render_audit
from core.cautions import cautions
from core.corpus import VAL, Corpus
from core.errors import ConfigError
from core.load import load_corpus
from tuning.best import table_of
from tuning.budgets import Budget, Ending
from tuning.called import typed
from tuning.event_files import check_tensorboard, event_files
from tuning.ledger import Ledger, open_ledger
from tuning.listeners import Listeners
from tuning.predictions import pack
from tuning.progress import Progress
from tuning.progress_text import hanging
from tuning.records import attributes_of, spec_of
from tuning.resources import Machine, Shares, default_window
from tuning.samplers import check_sampler
from tuning.selection import Selection
from tuning.shares import GPU_SHARE, settled
from tuning.space import Space
from tuning.space_file import load_space
from tuning.spec import SearchPlan, make_spec, searched_fields, study_key
from tuning.stopping import Asha, Halving
from tuning.storage import check_storage
from tuning.tally import Tally
from tuning.warm_start import with_knowledge

if TYPE_CHECKING:
    from tuning.joined import Cluster
    from tuning.searcher import Listener  # both know Ray

NO_STORAGE = (
    "checkpoints stay on each trial's node: a node that is lost costs its running trials' epochs, never the study; "
    "--storage keeps them"
)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The command line of `run`."""

    data: Mapping[str, Any]
    """Arguments of load_corpus; they go into the study's spec."""
    cache_dir: Path | None
    space: str
    overrides: tuple[str, ...]
    trials: int
    epochs: int
    window: int | None
    seed: int
    stopping: Halving | Asha | None
    sampler: str
    warm_start: Path | None
    """Another study's folder."""
    patience: int | None
    precision: str
    shares: Shares
    budget: Budget
    workers: int | None
    name: str | None
    results: Path
    tensorboard: bool = False
    """Write event files as well."""
    address: str | None = None
    """Of a Ray cluster; None: a Ray of our own on this machine."""
    storage: str | None = None
    """Where checkpoints are kept as well (tuning.storage); None: nowhere."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"--workers must be at least 1, got {self.workers}")
        check_sampler(self.sampler)
        if self.tensorboard:
            check_tensorboard()
        if self.name is not None and not re.fullmatch(r"\w[\w.+-]*", self.name):
            raise ConfigError(f"--name must be letters, digits, dots, plus signs and dashes, got {self.name!r}")

    @cached_property
    def loaded_space(self) -> Space:
        """The search space."""
        return load_space(self.space, self.overrides)

    @property
    def folder(self) -> Path:
        """The study's."""
        return self.results / (self.name or f"{_slug(self.data['dataset'])}-{_slug(self.loaded_space.name)}")


def run_study(options: RunOptions) -> bool:
    """Run or continue a study and print its table.

    Returns:
        True when the study is complete or a budget has ended it, False when it was interrupted.

    Raises:
        UserError: something in the options, the data or the study that the person can mend.
    """
    if options.storage is not None:
        check_storage(options.storage)
    if options.address is None:
        machine = Machine.here()
        return _run(options, machine, options.shares.fit(machine))
    if options.shares.auto:
        raise ConfigError("--gpus-per-trial auto tries a GPU of this machine: with --address pass a share such as 0.5")
    from tuning.fitness import check_nodes
    from tuning.joined import joined

    with joined(options.address) as cluster:
        fits = cluster.fit(options.shares)
        check_nodes(cluster, options.storage, _complain)
        return _run(options, cluster, fits)


def _run(options: RunOptions, machine: "Machine | Cluster", fits: int) -> bool:
    """`run_study` where so many trials fit at once."""
    began = time.monotonic()
    folder = options.folder
    plan = search_plan(options, fits)
    corpus = load_corpus(**options.data, cache_dir=options.cache_dir, progress=_say)
    audit = render_audit(corpus.source["audit"])
    _say(hanging(audit, shutil.get_terminal_size().columns) if sys.stdout.isatty() else audit)
    shares = options.shares
    choice = None
    if isinstance(machine, Machine):
        shares, choice = settled(shares, plan, machine, corpus, attributes_of(folder))
        if choice is not None:
            _say(str(choice))
            fits = shares.fit(machine)
            plan = search_plan(options, fits)
    labels = corpus.labels[corpus.indices(VAL)]
    kept: dict[str, Any] = {
        "validation": {"labels": pack(labels), "classes": list(corpus.classes)},
        "audit": corpus.source["audit"],
        "command": typed(),
        "inputs": corpus.source["inputs"],
    }
    if options.warm_start is not None:
        plan, knowledge = with_knowledge(plan, folder, options.warm_start, corpus.fingerprint)
        kept |= knowledge
    kept["vocabulary"] = len(corpus.words)
    spec = make_spec(plan, corpus, options.data, shares)
    with open_ledger(folder, spec, kept) as ledger, contextlib.ExitStack() as extras:
        more: list[Listener] = []
        if options.tensorboard:
            more.append(extras.enter_context(event_files(ledger, searched_fields(plan.space), _complain)))
        if choice is not None:
            ledger.keep(GPU_SHARE, choice.to_dict())
        ending = plan.budget.ending(ledger.records())
        if ending is not None:
            _say(f"study {folder.name} has ended: {ending.reason}")
        elif _complete(ledger, plan):
            _say(f"study {folder.name} is complete: {len(ledger.trials())} trials")
        else:
            workers = min(fits, options.workers or fits)
            ledger.keep("ended", None)
            ending = _search(
                options, ledger, plan, corpus, shares, machine, workers, began, more, study_key(folder.name, spec)
            )
        ledger.keep("ended", ending.to_dict() if ending else None)
        _say(table_of(folder, Selection(top=10), "table"))
        if ending is not None:
            _say(_how_to_go_on(ending))
        return ending is not None or _complete(ledger, plan)


def _how_to_go_on(ending: Ending) -> str:
    """After a study that a budget has ended."""
    if ending.last is None:
        return f"the same command goes on, with as much time again: {typed()}"
    return "the same command with another --target or --patience-trials, or without, goes on"


def search_plan(options: RunOptions, fits: int) -> SearchPlan:
    """What the study does, when so many trials fit at once."""
    window = options.window
    if window is None:
        known = spec_of(options.folder)  # fixed when the study was made, on whatever machine
        window = known["window"] if known else default_window(fits)
    return SearchPlan(
        space=options.loaded_space,
        n_trials=options.trials,
        epochs=options.epochs,
        window=window,
        seed=options.seed,
        stopping=options.stopping,
        sampler=options.sampler,
        patience=options.patience,
        precision=options.precision,
        budget=options.budget,
    )


def _search(
    options: RunOptions,
    ledger: Ledger,
    plan: SearchPlan,
    corpus: Corpus,
    shares: Shares,
    machine: "Machine | Cluster",
    workers: int,
    began: float,
    more: "Sequence[Listener]",
    key: str,
) -> Ending | None:
    """Search; return how a budget ended it before all trials were done, if one did."""
    from tuning.keeping import Keeping  # Ray, only when there is something to search
    from tuning.search import Interruption, search

    records = ledger.records()
    if records:
        ended = sum(record.state != "RUNNING" for record in records)
        _say(f"going on with study {ledger.folder.name}: {ended} of {plan.n_trials} trials are done")
    keeping = Keeping(study=key, on_node=options.address is not None, storage=options.storage)
    if keeping.on_node and not keeping.storage:
        _say(NO_STORAGE)
    tally = Tally.of(
        records,
        n_trials=plan.n_trials,
        epochs_a_trial=plan.epochs,
        workers=workers,
        searched=searched_fields(plan.space),
    )
    progress = Progress(Console(highlight=False), tally, cautions(corpus.source["audit"]))

    def lost(what: str) -> NoReturn:
        progress.__exit__()  # a live display hides the cursor
        if interruption.requested and not interruption.ended:  # the signal went to Ray as well
            _complain(f"interrupted; the same command goes on: {typed()}")
            os._exit(130)
        _complain(
            f"sentune: Ray's process {what} has ended (killed, or out of memory); nothing is lost, "
            f"the same command goes on: {typed()}"
        )
        os._exit(2)  # the main thread may wait for Ray for ever; the journal bears a kill at any moment

    interruption = Interruption(say=_complain, lost=lost)
    seconds = None if plan.budget.seconds is None else plan.budget.seconds - (time.monotonic() - began)
    with progress, interruption.ending_after(seconds, plan.budget.time_up):
        search(ledger, plan, corpus, shares, machine, workers, Listeners([progress, *more]), interruption, keeping.work)
    if _complete(ledger, plan):
        keeping.forget(machine, _complain)
    ending = interruption.ended
    return None if ending and ending.last is None and _complete(ledger, plan) else ending


def _complete(ledger: Ledger, plan: SearchPlan) -> bool:
    trials = ledger.trials()
    return len(trials) >= plan.n_trials and all(trial.state.is_finished() for trial in trials)


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(text, flush=True)


def _slug(text: str) -> str:
    """`mr:/data/rt.tar.gz` -> `mr`; `/data/My tickets.csv` -> `My-tickets`."""
    stem = text.split(":", 1)[0] if text.startswith("mr:") else Path(text).name.split(".")[0]
    return re.sub(r"[^\w+-]+", "-", stem).strip("-") or "study"
