"""The verb `run`: data, journal, search, table. The same command again goes on where it was."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from core.audit import render as render_audit
from core.corpus import VAL, Corpus
from core.errors import ConfigError
from core.load import load_corpus
from tuning.best import table_of
from tuning.called import typed
from tuning.ledger import Ledger, open_ledger
from tuning.predictions import pack
from tuning.progress import Progress, Tally
from tuning.records import TrialRecord, spec_of
from tuning.resources import Machine, Shares, default_window
from tuning.results import ranking
from tuning.samplers import check_sampler
from tuning.selection import Selection
from tuning.space import Space
from tuning.space_file import load_space
from tuning.spec import SearchPlan, make_spec, searched_fields, study_key
from tuning.stopping import Asha, Halving
from tuning.storage import check_storage
from tuning.warm_start import with_knowledge

if TYPE_CHECKING:
    from tuning.joined import Cluster

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
    workers: int | None
    name: str | None
    results: Path
    address: str | None = None
    """Of a Ray cluster; None: a Ray of our own on this machine."""
    storage: str | None = None
    """Where checkpoints are kept as well (tuning.storage); None: nowhere."""

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
        True when the study is complete, False when it was interrupted.

    Raises:
        UserError: something in the options, the data or the study that the person can mend.
    """
    if options.storage is not None:
        check_storage(options.storage)
    if options.address is None:
        machine = Machine.here()
        return _run(options, machine, options.shares.fit(machine))
    from tuning.fitness import check_nodes
    from tuning.joined import joined

    with joined(options.address) as cluster:
        fits = cluster.fit(options.shares)
        check_nodes(cluster, options.storage, _complain)
        return _run(options, cluster, fits)


def _run(options: RunOptions, machine: "Machine | Cluster", fits: int) -> bool:
    """`run_study` where so many trials fit at once."""
    folder = options.folder
    plan = _plan(options, fits)
    corpus = load_corpus(**options.data, cache_dir=options.cache_dir, progress=_say)
    _say(render_audit(corpus.source["audit"]))
    labels = corpus.labels[corpus.indices(VAL)]
    kept: dict[str, Any] = {"validation": {"labels": pack(labels), "classes": list(corpus.classes)}}
    if options.warm_start is not None:
        plan, knowledge = with_knowledge(plan, folder, options.warm_start, corpus.fingerprint)
        kept |= knowledge
    kept["vocabulary"] = len(corpus.words)
    spec = make_spec(plan, corpus, options.data, options.shares)
    with open_ledger(folder, spec, kept) as ledger:
        if _complete(ledger, plan):
            _say(f"study {folder.name} is complete: {len(ledger.trials())} trials")
        else:
            workers = min(fits, options.workers or fits)
            _search(options, ledger, plan, corpus, machine, workers, study_key(folder.name, spec))
        _say(table_of(folder, Selection(top=10), "table"))
        return _complete(ledger, plan)


def _plan(options: RunOptions, fits: int) -> SearchPlan:
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
    )


def _search(
    options: RunOptions,
    ledger: Ledger,
    plan: SearchPlan,
    corpus: Corpus,
    machine: "Machine | Cluster",
    workers: int,
    key: str,
) -> None:
    from tuning.keeping import Keeping  # Ray, only when there is something to search
    from tuning.search import Interruption, search

    records = ledger.records()
    if records:
        ended = sum(record.state != "RUNNING" for record in records)
        _say(f"going on with study {ledger.folder.name}: {ended} of {plan.n_trials} trials are done")
    keeping = Keeping(study=key, on_node=options.address is not None, storage=options.storage)
    if keeping.on_node and not keeping.storage:
        _say(NO_STORAGE)
    tally = tally_of(records, plan, workers)
    progress = Progress(Console(highlight=False), tally, frozenset(searched_fields(plan.space)))

    def lost(what: str) -> NoReturn:
        progress.__exit__()  # a live display hides the cursor
        if interruption.requested:  # the signal went to Ray as well
            _complain(f"interrupted; the same command goes on: {typed()}")
            os._exit(130)
        _complain(
            f"sentune: Ray's process {what} has ended (killed, or out of memory); nothing is lost, "
            f"the same command goes on: {typed()}"
        )
        os._exit(2)  # the main thread may wait for Ray for ever; the journal bears a kill at any moment

    interruption = Interruption(say=_complain, lost=lost)
    with progress:
        search(ledger, plan, corpus, options.shares, machine, workers, progress, interruption, keeping.work)
    if _complete(ledger, plan):
        keeping.forget(machine, _complain)


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
