"""The commands that read a study or train from it: best, list, report, confirm, retrain, ensemble, distill."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from core.errors import ConfigError
from tuning.cli.options import MovedData, MovedVectors, Study, TrainedOn, TrainingOption
from tuning.console import (
    ASSESSING,
    command_line,
    ignore_broken_output,
    print_note,
    program_name,
    say_if_slow,
)
from tuning.run_options import CacheDir, DataOption, Encoding, OutputOption, ResourcesOption, Results, study_folder

LOADING = "loading torch ..."


def best(
    study: Study,
    top: Annotated[int, OutputOption(help="Maximum number of rows in the table.")] = 10,
    state: Annotated[
        Literal["done", "stopped", "failed", "paused", "all"] | None,
        OutputOption(
            help="Show only trials in this state; all also includes unfinished trials. Default: all that have ended."
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        OutputOption(
            help="Show only rows that match, e.g. n_layers=1 or 'val_accuracy>0.7'. Can be repeated. Default: all."
        ),
    ] = None,
    sort: Annotated[str, OutputOption(help="Field or setting to sort by; -FIELD sorts in descending order.")] = "rank",
    expected: Annotated[
        bool,
        OutputOption(
            "--expected",
            help="Show the expected best accuracy of random search for each budget instead of the table.",
        ),
    ] = False,
    trial: Annotated[
        int | None,
        OutputOption(
            help="Show this trial instead of the table: settings, epochs, classes and confusions. Default: none."
        ),
    ] = None,
    format: Annotated[Literal["table", "json", "csv", "md"], OutputOption(help="Output format.")] = "table",
    results: Results = Path("results"),
) -> None:
    """Show the best trials of STUDY, and a bias-corrected accuracy."""
    from tuning.analysis.best import curve_of, table_of
    from tuning.analysis.filters import RowFilter, parse_where

    if trial is not None:
        from tuning.analysis.trial_detail import trial_text

        if expected or state or where or sort != "rank":
            raise ConfigError("--trial shows one trial; leave out --expected, --state, --where and --sort")
        if format not in ("table", "json"):
            raise ConfigError(f"--format must be table or json with --trial, got {format!r}")
        print(trial_text(study_folder(study, results), trial, format))
        return
    if expected and (state or where or sort != "rank"):
        raise ConfigError("--expected shows no trials; leave out --state, --where and --sort")
    conditions = tuple(parse_where(text) for text in where or ())
    selection = RowFilter(state=state, where=conditions, sort=sort, top=top)
    folder = study_folder(study, results)
    with say_if_slow(ASSESSING):
        text = curve_of(folder, format) if expected else table_of(folder, selection, format)
    print(text)


def list_studies(
    format: Annotated[Literal["table", "json"], OutputOption(help="Output format.")] = "table",
    results: Results = Path("results"),
) -> None:
    """List the studies of a results folder. Shows data, trials, state, best value and corrected value."""
    from tuning.analysis.listing import list_text

    print(list_text(results, format))


def report(
    study: Study,
    out: Annotated[
        Path | None, OutputOption(help="HTML file to write. Default: report.html in the study's folder.")
    ] = None,
    images: Annotated[Path | None, OutputOption(help="Folder for each chart as PNG and SVG. Default: none.")] = None,
    watch: Annotated[bool, OutputOption("--watch", help="Update the page while the study runs.")] = False,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Write STUDY as one HTML page: table, charts and mistakes."""
    from tuning.report.command import write_report as write_report

    folder = study_folder(study, results)
    target = out or folder / "report.html"
    write_report(folder, target, images, cache_dir=cache_dir, watch=watch, command=command_line())


@ignore_broken_output()
def confirm(
    study: Study,
    top: Annotated[int, TrainingOption(help="Number of configurations, by rank. The baseline is added.")] = 5,
    seeds: Annotated[int, TrainingOption(help="Number of new seeds per configuration.")] = 5,
    folds: Annotated[
        int | None, TrainingOption(help="Also cross-validate the winner with this number of folds. Default: no.")
    ] = None,
    workers: Annotated[
        int | None, ResourcesOption(help="Maximum number of parallel trainings. Default: all that fit.")
    ] = None,
    format: Annotated[Literal["table", "json"], OutputOption(help="Output format.")] = "table",
    dataset: MovedData = None,
    vectors: MovedVectors = None,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Train the best configurations on new seeds. Includes the baseline, and compares all of them."""
    with say_if_slow(LOADING, print if format == "table" else print_note):
        from tuning.confirm.command import ConfirmOptions
        from tuning.confirm.command import confirm_study as confirm_study

    options = ConfirmOptions(
        folder=study_folder(study, results),
        top=top,
        seeds=seeds,
        folds=folds,
        workers=workers,
        form=format,
        dataset=dataset,
        vectors=vectors,
        cache_dir=cache_dir,
    )
    if confirm_study(options) is None:
        raise KeyboardInterrupt


@ignore_broken_output()
def retrain(
    study: Study,
    trial: Annotated[str, TrainingOption(help="Trial to train again: a number, recommended, or best.")] = "recommended",
    out: Annotated[
        Path | None, OutputOption(help="Model folder to write. Default: model in the study's folder.")
    ] = None,
    on: TrainedOn = "train",
    seeds: Annotated[int, TrainingOption(help="Number of models to train. The median by validation is saved.")] = 1,
    strict: Annotated[bool, OutputOption("--strict", help="Exit with code 1 if the search is not reproduced.")] = False,
    threads: Annotated[int | None, ResourcesOption(help="Number of CPU threads. Default: as in the study.")] = None,
    precision: Annotated[
        str | None, ResourcesOption(help="Number format: fp32 or bf16. Default: as in the study.")
    ] = None,
    dataset: MovedData = None,
    vectors: MovedVectors = None,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Train a trial again, verify it, and save the model. Compares each epoch with the search."""
    with say_if_slow(LOADING, print):
        from tuning.retrain.command import RetrainOptions
        from tuning.retrain.command import retrain_trial as retrain_trial

    folder = study_folder(study, results)
    target = out or folder / "model"
    options = RetrainOptions(
        folder=folder,
        trial=trial,
        on=on,
        seeds=seeds,
        threads=threads,
        precision=precision,
        dataset=dataset,
        vectors=vectors,
        out=target,
        cache_dir=cache_dir,
        command=command_line(),
    )
    verdict = retrain_trial(options)
    _print_next(target)
    if strict and verdict.difference is not None:
        raise typer.Exit(1)


@ignore_broken_output()
def ensemble(
    study: Study,
    size: Annotated[int, TrainingOption(help="Number of selections. A trial can be selected more than once.")] = 5,
    max_cost: Annotated[
        int | None,
        TrainingOption(help="Maximum number of multiplications per word of all members together. Default: no limit."),
    ] = None,
    on: TrainedOn = "train",
    workers: Annotated[
        int | None, ResourcesOption(help="Maximum number of parallel trainings. Default: all that fit.")
    ] = None,
    out: Annotated[
        Path | None, OutputOption(help="Model folder to write. Default: ensemble in the study's folder.")
    ] = None,
    dataset: MovedData = None,
    vectors: MovedVectors = None,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Combine trials and the plain baseline into one model. Trains the trials again and verifies them."""
    with say_if_slow(LOADING, print):
        from tuning.ensemble.command import EnsembleOptions
        from tuning.ensemble.command import make_ensemble as make_ensemble

    folder = study_folder(study, results)
    target = out or folder / "ensemble"
    options = EnsembleOptions(
        folder=folder,
        size=size,
        max_cost=max_cost,
        on=on,
        workers=workers,
        dataset=dataset,
        vectors=vectors,
        out=target,
        cache_dir=cache_dir,
        command=command_line(),
    )
    if not make_ensemble(options):
        raise KeyboardInterrupt
    _print_next(target)


@ignore_broken_output()
def distill(
    model: Annotated[Path, typer.Argument(help="Model folder of the teacher.", metavar="MODEL")],
    study: Study,
    unlabelled: Annotated[
        str | None,
        DataOption(
            help="File with more sentences, one per line, or a table with --text-column; - is standard input. "
            "Default: none."
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        DataOption(help="Column with the sentences, if --unlabelled is a table. Default: none, one sentence per line."),
    ] = None,
    encoding: Encoding = None,
    variants: Annotated[
        int,
        TrainingOption(
            help="Number of variants of each training sentence (with unknown words, or a fragment) that MODEL labels "
            "too. N variants take 1 + N times as long."
        ),
    ] = 3,
    trial: Annotated[
        str, TrainingOption(help="Trial whose settings are used: a number, recommended, or best.")
    ] = "recommended",
    on: TrainedOn = "train",
    out: Annotated[
        Path | None, OutputOption(help="Model folder to write. Default: distilled in the study's folder.")
    ] = None,
    dataset: MovedData = None,
    vectors: MovedVectors = None,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Train one small model on the probabilities of MODEL. Uses the sentences of STUDY, and unlabelled sentences."""
    with say_if_slow(LOADING, print):
        from tuning.distill import DistillOptions, distill_model

    folder = study_folder(study, results)
    target = out or folder / "distilled"
    options = DistillOptions(
        model=model,
        folder=folder,
        unlabelled=unlabelled,
        text_column=text_column,
        encoding=encoding,
        variants=variants,
        trial=trial,
        on=on,
        dataset=dataset,
        vectors=vectors,
        out=target,
        cache_dir=cache_dir,
        command=command_line(),
    )
    distill_model(options)
    _print_next(target)


def _print_next(model: Path) -> None:
    """Print how to use a model folder."""
    print(f"next: {program_name()} predict {shlex.quote(str(model))} 'your sentence'")
