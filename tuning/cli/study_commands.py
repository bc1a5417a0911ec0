"""The commands that read a study or continue from it: best, report, confirm, retrain, distill."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from core.errors import ConfigError
from tuning.cli.options import MovedData, MovedVectors, Study, TrainedOn
from tuning.console import (
    ASSESSING,
    command_line,
    exit_if_interrupted,
    ignore_broken_output,
    print_note,
    program_name,
    say_if_slow,
)
from tuning.run_options import CacheDir, Encoding, Results, study_folder

LOADING = "loading torch ..."


def best(
    study: Study,
    top: Annotated[int, typer.Option(help="Maximum number of rows.")] = 10,
    state: Annotated[
        Literal["done", "stopped", "failed", "paused", "all"] | None,
        typer.Option(help="Show only trials in this state; all includes unfinished trials."),
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Show only matching rows, e.g. n_layers=1 or 'val_accuracy>0.7'.")
    ] = None,
    sort: Annotated[str, typer.Option(help="Field or setting to sort by; -FIELD sorts in descending order.")] = "rank",
    expected: Annotated[
        bool,
        typer.Option("--expected", help="Show the expected best accuracy of random search for each budget instead."),
    ] = False,
    trial: Annotated[
        int | None, typer.Option(help="Show this trial instead: settings, epochs, scores of each class, confusions.")
    ] = None,
    format: Annotated[Literal["table", "json", "csv", "md"], typer.Option(help="Output format.")] = "table",
    results: Results = Path("results"),
) -> None:
    """Show the best trials of STUDY, and a bias-corrected accuracy."""
    from tuning.analysis.best import curve_of, table_of
    from tuning.analysis.filters import RowFilter, parse_where

    if trial is not None:
        from tuning.analysis.trial_detail import trial_text

        if expected or state or where or sort != "rank":
            raise ConfigError("--trial shows one trial: leave --expected, --state, --where and --sort out")
        if format not in ("table", "json"):
            raise ConfigError(f"--trial has --format table or json, got {format!r}")
        print(trial_text(study_folder(study, results), trial, format))
        return
    if expected and (state or where or sort != "rank"):
        raise ConfigError("--expected shows no rows: leave --state, --where and --sort out")
    conditions = tuple(parse_where(text) for text in where or ())
    selection = RowFilter(state=state, where=conditions, sort=sort, top=top)
    folder = study_folder(study, results)
    with say_if_slow(ASSESSING):
        text = curve_of(folder, format) if expected else table_of(folder, selection, format)
    print(text)


def list_studies(
    format: Annotated[Literal["table", "json"], typer.Option(help="Output format.")] = "table",
    results: Results = Path("results"),
) -> None:
    """List the studies of a results folder. Shows data, trials, state, the best value, and the corrected one."""
    from tuning.analysis.listing import list_text

    print(list_text(results, format))


def report(
    study: Study,
    out: Annotated[Path | None, typer.Option(help="HTML file. Default: report.html in the study's folder.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder for each chart as PNG and SVG. Default: none.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Update the page while the study runs.")] = False,
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
    top: Annotated[int, typer.Option(help="Number of configurations, by rank; the baseline is added.")] = 5,
    seeds: Annotated[int, typer.Option(help="Number of new seeds per configuration.")] = 5,
    folds: Annotated[int | None, typer.Option(help="Also cross-validate the winner with this number of folds.")] = None,
    workers: Annotated[int | None, typer.Option(help="Maximum number of parallel runs.")] = None,
    format: Annotated[Literal["table", "json"], typer.Option(help="Output format.")] = "table",
    dataset: MovedData = None,
    vectors: MovedVectors = None,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Train the best configurations on new seeds, and compare them. Includes the baseline."""
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
    with exit_if_interrupted():
        if confirm_study(options) is None:
            raise KeyboardInterrupt


@ignore_broken_output()
def retrain(
    study: Study,
    trial: Annotated[str, typer.Option(help="Number of the trial, recommended, or best.")] = "recommended",
    out: Annotated[Path | None, typer.Option(help="Model folder. Default: folder model in the study's folder.")] = None,
    on: TrainedOn = "train",
    seeds: Annotated[int, typer.Option(help="Number of models to train; the median by validation is saved.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if the search is not reproduced.")] = False,
    threads: Annotated[int | None, typer.Option(help="Number of CPU threads. Default: as in the study.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Number format: fp32 or bf16. Default: as in the study.")
    ] = None,
    dataset: MovedData = None,
    vectors: MovedVectors = None,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Train a trial again, compare it with the search, save the model. Compares each epoch bit by bit."""
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
    with exit_if_interrupted():
        verdict = retrain_trial(options)
    _print_next(target)
    if strict and verdict.difference is not None:
        raise typer.Exit(1)


@ignore_broken_output()
def ensemble(
    study: Study,
    size: Annotated[int, typer.Option(help="Number of selections; a trial may be selected more than once.")] = 5,
    max_cost: Annotated[
        int | None, typer.Option(help="Maximum multiplications per word of all members together. Default: no maximum.")
    ] = None,
    on: TrainedOn = "train",
    workers: Annotated[int | None, typer.Option(help="Maximum number of parallel trainings.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Model folder. Default: folder ensemble in the study's folder.")
    ] = None,
    dataset: MovedData = None,
    vectors: MovedVectors = None,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Combine trials and the plain baseline into one model. Trains the trials again, and compares them."""
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
    with exit_if_interrupted():
        if not make_ensemble(options):
            raise KeyboardInterrupt
    _print_next(target)


@ignore_broken_output()
def distill(
    model: Annotated[Path, typer.Argument(help="Folder of the teacher: a saved model.", metavar="MODEL")],
    study: Study,
    unlabelled: Annotated[
        str | None, typer.Option(help="File with more sentences, one per line; - is standard input.")
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of --unlabelled, a table.")] = None,
    encoding: Encoding = None,
    variants: Annotated[
        int,
        typer.Option(
            help="Number of variants of each training sentence (with unknown words, or a fragment) that MODEL labels "
            "too. N variants take 1 + N times as long."
        ),
    ] = 3,
    trial: Annotated[
        str, typer.Option(help="Trial with the settings: a number, recommended, or best.")
    ] = "recommended",
    on: TrainedOn = "train",
    out: Annotated[
        Path | None, typer.Option(help="Model folder. Default: folder distilled in the study's folder.")
    ] = None,
    dataset: MovedData = None,
    vectors: MovedVectors = None,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Train one small model on the probabilities of MODEL. Uses the sentences of STUDY, and others without labels."""
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
    with exit_if_interrupted():
        distill_model(options)
    _print_next(target)


def _print_next(model: Path) -> None:
    """Print how to use a model folder."""
    print(f"next: {program_name()} predict {shlex.quote(str(model))} 'your sentence'")
