"""The verb `retrain`: train a trial again, compare it with the search's record, measure it and save the model."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import ConfigError, TrainingError, UserError
from core.inference.saved_model import check_model_folder
from core.nn.environment import check_precision
from core.training.result import TrainResult
from tuning.analysis.assessment import assess
from tuning.analysis.recommendation import nothing_learned
from tuning.analysis.trial_detail import searched_settings
from tuning.console import ASSESSING, command_line, in_callers_terms, say_if_slow
from tuning.journal.records import (
    NO_VALUE,
    Spec,
    TrialRecord,
    is_candidate,
    is_validated_in_folds,
    rank_trials,
    read_study,
)
from tuning.journal.writer import StudyJournal, open_study
from tuning.retrain.environment_diff import (
    EnvironmentChange,
    changes_since,
    environment_now,
    retraining_notes,
)
from tuning.retrain.models import (
    RetrainContext,
    TrainedModel,
    evaluate_model,
    forget_diagrams,
    median_model,
    save_members,
    seed_summary,
    train_seed,
)
from tuning.retrain.output import print_epoch, print_figures, print_quality, shown_metrics, train_on_both
from tuning.retrain.reproduction import Reproduction, reproduction_of
from tuning.retrain.training import device_of, fresh_seeds, split_name, study_corpus
from tuning.study_options import BOTH, RECOMMENDED, RetrainOptions


def retrain_trial(options: RetrainOptions) -> Reproduction:
    """Train, compare, measure, save, and print each step.

    Raises:
        UserError: There is no such study or trial, another process runs the study, or the model cannot be written.
        TrainingError: The loss or the metric is not a number.
    """
    spec = read_study(options.folder)[0]["spec"]
    if options.seeds > 1 and is_validated_in_folds(spec):
        raise ConfigError("--seeds must be 1 for a study validated in folds, whose model is trained on all folds")
    check_model_folder(options.model_folder)
    with open_study(options.folder, spec) as journal:
        attributes, records = read_study(options.folder)  # again: another process may just have trained a trial
        record = select_trial(options.folder, options.trial, attributes, records)
        context, changes = _prepare(options, journal, spec, records, record)
        print(f"training trial {record.number}: {searched_settings(record, spec)}")
        verified = train_seed(
            context, context.config.seed, record.epochs[-1].epoch, partial(print_epoch, context.config)
        )
        verdict = reproduction_of(record, verified, changes)
        print(verdict)
        model, about = _models(options, context, record, verified)
        print_quality(model.figures, context.corpus.classes)
        about = {
            "trial": record.number,
            "on": options.on,
            "verdict": str(verdict),
            "search_trials": sum(is_candidate(each) for each in records),
            "changed_since_the_search": [str(change) for change in changes],
            **about,
            "test_evaluations": len(journal.test_evaluations),
        }
        save_members(options.model_folder, [model.member], {**model.metrics, **about}, context.corpus, command_line())
        shutil.rmtree(context.checkpoints, ignore_errors=True)
    return verdict


def select_trial(
    folder: Path, choice: str, attributes: Mapping[str, Any], records: Sequence[TrialRecord]
) -> TrialRecord:
    """Return the trial that `--trial` names: the recommended one, the best or a number.

    If none is recommended, it is the best one. Print a message if nothing was learned.

    Raises:
        UserError: There is no such trial, it failed, or it has not ended.
    """
    if choice == RECOMMENDED:
        with say_if_slow(ASSESSING, print):
            assessment = assess(records, attributes, folder, ensemble_size=0)
        if assessment.nothing_learned:
            print(*nothing_learned(attributes["spec"]["metric"]), sep="\n")
        if assessment.recommended is not None:
            return records[assessment.recommended]
    ended = rank_trials(records)
    if not ended:
        raise UserError(f"no trial of this study {NO_VALUE}")
    if choice in ("best", RECOMMENDED):
        return ended[0]
    numbers = {str(record.number): record for record in records}
    if choice not in numbers:
        raise ConfigError(f"--trial must be recommended, best or a number from 0 to {len(records) - 1}, got {choice!r}")
    record = numbers[choice]
    if record not in ended:
        why = f"failed ({record.error})" if record.state == "FAIL" else "has not ended"
        raise UserError(f"trial {choice} {why}; choose another --trial")
    return record


def _prepare(
    options: RetrainOptions, journal: StudyJournal, spec: Spec, records: Sequence[TrialRecord], record: TrialRecord
) -> tuple[RetrainContext, list[EnvironmentChange]]:
    """Prepare the training, and print the changes since the search before it starts."""
    config = record.trial_config
    if options.precision is not None:
        config = config.replace(precision=options.precision)
    threads, device = options.threads or spec["threads"], device_of(spec)
    check_precision(config.precision, device)
    corpus = study_corpus(spec, options.places, options.cache_dir, print)
    now = environment_now(config.precision, threads, device)
    changes = changes_since(journal.attributes, records, record, corpus, now)
    for line in retraining_notes(record, changes):
        print(line)
    context = RetrainContext(
        journal=journal,
        trial=record.number,
        config=config,
        corpus=corpus,
        split=split_name(spec, corpus.fingerprint),
        threads=threads,
        device=device,
    )
    return context, changes


def _models(
    options: RetrainOptions, context: RetrainContext, record: TrialRecord, verified: TrainResult
) -> tuple[TrainedModel, dict[str, Any]]:
    """Return the model to keep, and metadata besides its own figures."""
    if options.on == BOTH or context.corpus.folds is not None:
        return train_on_both(context, verified), {}
    models = [evaluate_model(context, verified)]
    print_figures(models[0])
    if options.seeds == 1:
        return models[0], {}
    last = None if record.state == "COMPLETE" else record.epochs[-1].epoch
    for seed in fresh_seeds(context.config.seed, options.seeds - 1):
        print(f"training on seed {seed}")
        try:
            result = train_seed(context, seed, last, partial(print_epoch, context.config))
        except TrainingError as error:
            fewer = in_callers_terms(f"pass --seeds {len(models)} to leave it out")
            raise TrainingError(f"seed {seed}: {error}; {fewer}") from error
        models.append(evaluate_model(context, result))
        print_figures(models[-1])
    kept, about = median_model(models), seed_summary(models)
    for name, metric in shown_metrics(context.config):
        if spread := about.get(f"{name}_{metric.name}_over_seeds"):
            title = f"{name:<4} {metric.title} over {len(models)} seeds"
            print(f"{title}: {spread['mean']:.4f} +- {spread['sd']:.4f} (sd)")
    forget_diagrams(context.journal, models, kept)
    print(f"selected: the model of seed {kept.config.seed}, the median by validation")
    return kept, about
