"""The verb `ensemble`: select trials and the plain baseline, train them again, verify, measure and save one model."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from core.data.corpus import Corpus
from core.errors import UserError
from core.inference.saved_model import check_model_folder
from tuning.analysis.assessment import StudyAssessment, assess
from tuning.analysis.best import ensemble_line, why_not_corrected
from tuning.analysis.ensemble import EnsembleEstimate
from tuning.analysis.recommendation import NOTHING_LEARNED
from tuning.analysis.selection_bias import FIXED
from tuning.backend.background_ray import BackgroundRay
from tuning.backend.interrupt import InterruptHandler
from tuning.console import ASSESSING, command_line, say_if_slow
from tuning.ensemble.measure import measure
from tuning.ensemble.members import TrainedMember, fit_plain_member, train_members, verify_member
from tuning.journal.records import NO_VALUE, Spec, TrialRecord, is_candidate, read_study
from tuning.journal.writer import StudyJournal, open_study
from tuning.resources.machine import Machine
from tuning.retrain.environment_diff import changes_since, require_same_data, with_version
from tuning.retrain.models import save_members
from tuning.retrain.training import study_corpus, task_resources
from tuning.study_options import BOTH, EnsembleOptions


def make_ensemble(options: EnsembleOptions) -> bool:
    """Select, train, verify, measure, save, and print each step.

    Returns:
        False if it was interrupted.

    Raises:
        UserError: There is no such study or no member, another process runs the study, its data have changed, or the
            model cannot be written.
        TrainingError: A trial cannot be trained again.
    """
    spec = read_study(options.folder)[0]["spec"]
    check_model_folder(options.model_folder)
    with open_study(options.folder, spec) as journal:
        return _make(options, journal, spec)


def _why_none(assessment: StudyAssessment) -> str:
    if not assessment.n_candidates:
        return f"no trial {NO_VALUE}"
    if assessment.corrected is None:
        more = "search with more of them under another --name"
        advice = more if assessment.sentences == 1 else "restore the study's folder `probabilities`"
        return f"{why_not_corrected(assessment)}; {advice}"
    if assessment.nothing_learned:
        return f"{NOTHING_LEARNED}; run more trials"
    return (
        "no trial has ended with stored probabilities, or those of two trials are too large to compare (validation "
        "sentences times classes); restore the study's folder `probabilities`, or search with fewer validation "
        "sentences under another --name"
    )


def _make(options: EnsembleOptions, journal: StudyJournal, spec: Spec) -> bool:
    """Make the ensemble of a locked study; return False if it was interrupted."""
    attributes, records = read_study(options.folder)
    with say_if_slow(ASSESSING, print):
        assessment = assess(records, attributes, options.folder, ensemble_size=options.size, max_cost=options.max_cost)
    estimate = assessment.ensemble
    if estimate is None:
        raise UserError(f"there is no ensemble: {_why_none(assessment)}")
    print(ensemble_line(estimate), f"  {estimate.multiplications:,} multiplications per word", sep="\n", flush=True)
    chosen = {number: records[number] for number in estimate.counts if number != FIXED}
    notice = "stopping: epochs in progress are discarded"
    interrupt = InterruptHandler(notice=notice, kept="verified trainings lose no finished epoch")
    background = BackgroundRay(Machine.here(gpus=spec["device"] != "cpu"), interrupt.on_ray_lost)
    with interrupt.installed(), background:
        if chosen:
            background.start()
        corpus = study_corpus(spec, options.places, options.cache_dir, print)
        require_same_data(spec, journal.attributes["inputs"], corpus)
        members = _train(options, journal, records, chosen, corpus, estimate, background, interrupt)
        if members is None or interrupt.again:  # a library may discard the KeyboardInterrupt
            return False
        metrics = measure(journal, members, corpus, options.on if corpus.folds is None else "train")
        metrics |= {
            "on": options.on,
            "search_trials": sum(is_candidate(each) for each in records),
            "estimate": dataclasses.asdict(estimate.corrected),
            "test_evaluations": len(journal.test_evaluations),
        }
        save_members(options.model_folder, [each.member for each in members], metrics, corpus, command_line())
        # also those of an interrupted command that selected other trials
        for folder in journal.checkpoint_dir("").glob("ensemble-*"):
            shutil.rmtree(folder, ignore_errors=True)
    return True


def _train(
    options: EnsembleOptions,
    journal: StudyJournal,
    records: Sequence[TrialRecord],
    chosen: Mapping[int, TrialRecord],
    corpus: Corpus,
    estimate: EnsembleEstimate,
    background: BackgroundRay,
    interrupt: InterruptHandler,
) -> list[TrainedMember] | None:
    """Return the members in the order of their weights, each compared with the journal; None after an interrupt."""
    spec = journal.attributes["spec"]
    resources, workers = task_resources(spec, background.machine, options.workers, max(1, len(chosen)))
    both = options.on == BOTH or corpus.folds is not None
    found: dict[int, TrainedMember] = {}
    trained: Mapping[int, Mapping[str, Any]] | None = {}
    if chosen:
        checkpoints = {number: journal.checkpoint_dir(f"ensemble-{number}") for number in chosen}
        trials = "1 trial" if len(chosen) == 1 else f"{len(chosen)} trials"
        print(f"training {trials} again, {workers} in parallel", flush=True)
        trained = train_members(
            chosen, corpus, checkpoints, resources,
            partial(background.session, print), workers, interrupt, both=both, say=lambda line: print(line, flush=True),
        )  # fmt: skip
    if trained is None:
        return None
    # Not while Ray starts in a thread: threadpoolctl and an import there can wait for each other for ever.
    if FIXED in estimate.counts:
        print("fitting the plain baseline", flush=True)
        found[FIXED] = fit_plain_member(
            journal.folder, corpus, spec["metric"], estimate.weights[FIXED], both=options.on == BOTH
        )
    for number, record in chosen.items():
        now = with_version(trained[number]["result"].environment)  # of the worker: it may have another GPU
        changes = changes_since(journal.attributes, records, record, corpus, now)
        found[number] = verify_member(
            journal.folder, record, trained[number], corpus, estimate.weights[number], changes
        )
    return [found[number] for number in estimate.counts]
