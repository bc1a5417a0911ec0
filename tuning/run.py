"""The verb `run`: data, journal, search, table. The same command again goes on where it was."""

import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from core.audit import render as render_audit
from core.corpus import VAL, Corpus
from core.errors import ConfigError
from core.load import load_corpus
from tuning.best import table_of
from tuning.budgets import Budget, Ending
from tuning.called import typed
from tuning.ledger import Ledger, open_ledger
from tuning.predictions import pack
from tuning.progress import Progress, Tally
from tuning.records import TrialRecord, attributes_of, spec_of
from tuning.resources import Machine, Shares, default_window
from tuning.results import ranking
from tuning.samplers import check_sampler
from tuning.selection import Selection
from tuning.shares import GPU_SHARE, settled
from tuning.space import Space
from tuning.space_file import load_space
from tuning.spec import SearchPlan, make_spec, searched_fields
from tuning.stopping import Asha, Halving
from tuning.warm_start import with_knowledge


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

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"--workers must be at least 1, got {self.workers}")
        check_sampler(self.sampler)
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
    began = time.monotonic()
    folder = options.folder
    machine = Machine.here()
    fits = options.shares.fit(machine)
    plan = search_plan(options, fits)
    corpus = load_corpus(**options.data, cache_dir=options.cache_dir, progress=_say)
    _say(render_audit(corpus.source["audit"]))
    shares, choice = settled(options.shares, plan, machine, corpus, attributes_of(folder))
    if choice is not None:
        _say(str(choice))
        fits = shares.fit(machine)
        plan = search_plan(options, fits)
    labels = corpus.labels[corpus.indices(VAL)]
    kept: dict[str, Any] = {
        "validation": {"labels": pack(labels), "classes": list(corpus.classes)},
        "audit": corpus.source["audit"],
        "command": typed(),
    }
    if options.warm_start is not None:
        plan, knowledge = with_knowledge(plan, folder, options.warm_start, corpus.fingerprint)
        kept |= knowledge
    kept["vocabulary"] = len(corpus.words)
    spec = make_spec(plan, corpus, options.data, shares)
    with open_ledger(folder, spec, kept) as ledger:
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
            ending = _search(ledger, plan, corpus, shares, machine, workers, began)
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
    ledger: Ledger,
    plan: SearchPlan,
    corpus: Corpus,
    shares: Shares,
    machine: Machine,
    workers: int,
    began: float,
) -> Ending | None:
    """Search; return how a budget ended it before all trials were done, if one did."""
    from tuning.search import Interruption, search  # Ray, only when there is something to search

    records = ledger.records()
    if records:
        ended = sum(record.state != "RUNNING" for record in records)
        _say(f"going on with study {ledger.folder.name}: {ended} of {plan.n_trials} trials are done")
    tally = tally_of(records, plan, workers)
    progress = Progress(Console(highlight=False), tally, frozenset(searched_fields(plan.space)))

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
        search(ledger, plan, corpus, shares, machine, workers, progress, interruption)
    ending = interruption.ended
    return None if ending and ending.last is None and _complete(ledger, plan) else ending


def tally_of(records: list[TrialRecord], plan: SearchPlan, workers: int) -> Tally:
    """Where a study stands before its search goes on."""
    states = [record.state for record in records]
    tally = Tally(
        n_trials=plan.n_trials,
        workers=workers,
        done=states.count("COMPLETE"),
        stopped=states.count("PRUNED"),
        failed=states.count("FAIL"),
    )
    rows = ranking(records, searched_fields(plan.space), top=1)
    if rows and rows[0].rank == 1 and rows[0].val_accuracy is not None:
        tally.note_best(rows[0].val_accuracy, rows[0].trial, rows[0].params)
    return tally


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
