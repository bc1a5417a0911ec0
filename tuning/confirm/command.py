"""The verb `confirm`: compare the search's best configurations and the baseline in pairs, on fresh seeds."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from core.data.corpus import Corpus
from core.errors import DataError
from tuning.analysis.assessment import assess
from tuning.backend.background_ray import BackgroundRay
from tuning.backend.interrupt import InterruptHandler
from tuning.confirm.execution import execute
from tuning.confirm.runs import Candidate, ConfirmRun, candidates, plan_runs
from tuning.confirm.summary import Summary, summarize
from tuning.console import ASSESSING, say_if_slow
from tuning.journal.records import TrialRecord, read_study, study_attributes
from tuning.journal.writer import open_study
from tuning.resources.machine import Machine
from tuning.retrain.environment_diff import environment_changes, environment_now, environment_of, require_same_data
from tuning.retrain.training import device_of, study_corpus, task_resources
from tuning.study_options import ConfirmOptions


class _Plan(NamedTuple):
    """The runs of the command."""

    records: Sequence[TrialRecord]
    """All trials of the study."""
    chosen: Sequence[Candidate]
    """The trials to compare."""
    runs: Sequence[ConfirmRun]
    left: Sequence[ConfirmRun]
    """Runs that the journal lacks."""


def confirm_study(options: ConfirmOptions) -> Summary | None:
    """Execute the runs that the journal lacks, and summarize all runs.

    Returns:
        The summary; None if it was interrupted.

    Raises:
        UserError: There is no such study, another process runs it, or its data have changed.
    """
    plan, attributes = _plan(options)
    if plan.left:
        executed = _execute_missing(options, plan, attributes)
        if executed is None:
            return None
        plan, attributes = executed, study_attributes(options.folder)
    return summarize(options.folder.name, plan.chosen, plan.runs, attributes)


def _plan(options: ConfirmOptions) -> tuple[_Plan, Mapping[str, Any]]:
    """Return the runs of the study as its journal is now, and the study's attributes."""
    attributes, records = read_study(options.folder)
    with say_if_slow(ASSESSING, options.say):
        recommended = assess(records, attributes, options.folder, ensemble_size=0).recommended
    chosen = candidates(records, options.top, recommended)
    runs = plan_runs(attributes["spec"], chosen, options.seeds, options.folds)
    left = [run for run in runs if run.key not in attributes]
    return _Plan(records=records, chosen=chosen, runs=runs, left=left), attributes


def estimate_cost(
    records: Sequence[TrialRecord], runs: Sequence[ConfirmRun], left: Sequence[ConfirmRun], workers: int, models: int
) -> str:
    """Return the number of runs, and their duration as estimated from the epochs of the search.

    An epoch of the search trains `models` models, and one of a run on a fold trains one. With `--patience`, a run has
    about as many epochs as its trial, if this is complete.
    """
    each = {record.number: record.seconds / len(record.epochs) for record in records if record.epochs}
    usual = sum(each.values()) / len(each)
    patient = [record for record in records if record.config["patience"]]
    ended = {record.number: len(record.epochs) for record in patient if record.state == "COMPLETE"}
    fitted = [(run, run.trial) for run in left if run.trial is not None]
    trained = [(trial, ended.get(trial, run.config["epochs"]), run.fold) for run, trial in fitted]
    costs = (each.get(at, usual) * epochs / (1 if fold is None else models) for at, epochs, fold in trained)
    seconds = sum(costs) / workers  # without the plain baseline
    done = f", {len(runs) - len(left)} of them done" if len(left) < len(runs) else ""
    minutes = "a minute or less" if seconds <= 60 else f"{max(2, round(seconds / 60)):,} minutes"
    at_once = f"{workers} in parallel" if workers > 1 else "one after the other"
    plan = f"{len(runs)} runs{done}; the remaining {len(left)} take{'s' * (len(left) == 1)} about {minutes}, {at_once}"
    if not trained:
        return plan
    longest = max(run.config["epochs"] for run, _ in fitted)
    epochs = f"{'at most ' * bool(patient)}{longest} epoch{'s' * (longest != 1)}"
    return f"{plan}\n(each run trains {epochs}, as in the study, and uses the best one by validation)"


def _execute_missing(options: ConfirmOptions, plan: _Plan, attributes: Mapping[str, Any]) -> _Plan | None:
    """Execute the remaining runs under the study's lock; return the plan, or None if interrupted.

    If the study has changed since the plan was made, it is made again.
    """
    spec = attributes["spec"]
    machine = Machine.here(gpus=spec["device"] != "cpu")
    notice = "stopping: epochs in progress are discarded, completed epochs are kept"
    interrupt = InterruptHandler(notice=notice, kept="no finished run is lost")
    background = BackgroundRay(machine, interrupt.on_ray_lost)
    with interrupt.installed(), open_study(options.folder, spec) as journal, background:
        if read_study(options.folder) != (attributes, plan.records):
            plan, _ = _plan(options)  # another process has just trained a trial, or ended a run
        left = plan.left
        if not left:
            return plan
        resources, workers = task_resources(spec, machine, options.workers, len(left))
        background.start()
        say_once = cache(options.say)  # each fold reads the file again
        load = partial(study_corpus, spec, options.places, options.cache_dir, say_once)
        corpus = load()
        require_same_data(spec, journal.attributes["inputs"], corpus)
        now = environment_now(spec["precision"], resources.cpus_per_trial, device_of(spec))
        changes = environment_changes(environment_of(spec, plan.records, plan.chosen[0].record), now)
        for change in changes:
            options.say(f"changed since the search: {change}")
        options.say(estimate_cost(plan.records, plan.runs, left, workers, len(corpus.fold_corpora())))

        def corpus_of(run: ConfirmRun) -> Corpus:
            if run.fold is None:
                return corpus
            found = load(split=f"folds:{run.folds}", fold=run.fold, validation="split")
            if {**found.source["inputs"], "split": None} != {**corpus.source["inputs"], "split": None}:
                name = found.source["dataset"]
                raise DataError(f"{name} has changed since the command began; restore it, and run the command again")
            return found

        if first_fold := next((run for run in left if run.fold is not None), None):
            corpus_of(first_fold)  # refuses more folds than a class has sentences, before hours of training
        execute(
            left,
            corpus_of,
            journal,
            resources,
            partial(background.session, options.say),
            workers,
            options.say,
            interrupt,
        )
        return None if interrupt.requested else plan
