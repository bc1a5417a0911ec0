"""The commands that read a study or train from it: best, list, report, confirm, retrain, ensemble, distill."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from core.errors import ConfigError
from core.io.atomic import expand_user
from tuning.cli.options import takes_options
from tuning.console import (
    ASSESSING,
    command_line,
    for_terminal,
    ignore_broken_output,
    path_argument,
    program_name,
    say_if_slow,
)
from tuning.journal.folder import study_folder
from tuning.run_options import CacheDir, OutputOption, OutputPath, Results
from tuning.study_options import ConfirmOptions, DistillOptions, EnsembleOptions, RetrainOptions, StudyArgument

LOADING = "loading torch ..."


def best(
    study: StudyArgument,
    top: Annotated[
        int | None,
        OutputOption(
            help="Maximum number of ranked trials. The baseline and failed trials are added. "
            "Default: 10 in a table, all in JSON and CSV."
        ),
    ] = None,
    state: Annotated[
        Literal["done", "stopped", "failed", "paused", "running", "all"] | None,
        OutputOption(
            help="Show only trials in this state; all also shows running ones. Default: all except running ones."
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
            help="Show the expected best value of random search for each number of trials instead of the table.",
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
    """Show the best trials of STUDY, and a bias-corrected value."""
    from tuning.analysis.best import curve_of, table_of
    from tuning.analysis.filters import RowFilter, parse_where

    if trial is not None:
        from tuning.analysis.trial_detail import trial_text

        if expected or state or where or sort != "rank" or top is not None:
            raise ConfigError("--trial shows one trial; leave out --expected, --state, --where, --sort and --top")
        if format not in ("table", "json"):
            raise ConfigError(f"--format must be table or json with --trial, got {format!r}")
        print(trial_text(study_folder(study, results), trial, format))
        return
    if expected and (state or where or sort != "rank" or top is not None):
        raise ConfigError("--expected shows no trials; leave out --state, --where, --sort and --top")
    if top is None and format in ("table", "md"):
        top = 10
    conditions = tuple(parse_where(text) for text in where or ())
    selection = RowFilter(state=state, where=conditions, sort=sort, top=top)
    folder = study_folder(study, results)
    with say_if_slow(ASSESSING):
        text = curve_of(folder, format) if expected else table_of(folder, selection, format)
    print(for_terminal(text))


def list_studies(
    format: Annotated[Literal["table", "json"], OutputOption(help="Output format.")] = "table",
    results: Results = Path("results"),
) -> None:
    """List the studies of a results folder. Shows data, trials, state, best value and corrected value."""
    from tuning.analysis.listing import list_text

    with say_if_slow("assessing the studies ..."):
        text = list_text(results, format)
    print(text)


def report(
    study: StudyArgument,
    out: Annotated[
        Path | None, OutputPath(help="HTML file to write. Default: report.html in the study's folder.")
    ] = None,
    images: Annotated[Path | None, OutputPath(help="Folder for each chart as PNG and SVG. Default: none.")] = None,
    watch: Annotated[bool, OutputOption("--watch", help="Update the report while the study runs.")] = False,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Write STUDY as one HTML page: table, charts and mistakes."""
    from tuning.report.command import write_report

    folder = study_folder(study, results)
    target = out or folder / "report.html"
    write_report(folder, target, images, cache_dir=cache_dir, watch=watch, command=command_line())


@takes_options(ConfirmOptions)
def confirm(options: ConfirmOptions) -> None:
    """Train the best configurations on new seeds. Includes the baseline, and compares all of them."""
    with say_if_slow(LOADING, options.say):
        from tuning.confirm.command import confirm_study
        from tuning.confirm.tables import render_summary

    with ignore_broken_output():
        summary = confirm_study(options)
    if summary is None:
        raise KeyboardInterrupt
    print(render_summary(summary, options.format))


@takes_options(RetrainOptions)
@ignore_broken_output()
def retrain(
    options: RetrainOptions,
    strict: Annotated[bool, OutputOption("--strict", help="Exit with code 1 if the search is not reproduced.")] = False,
) -> None:
    """Train a trial again, verify it, and save the model. Compares each epoch with the search."""
    with say_if_slow(LOADING, print):
        from tuning.retrain.command import retrain_trial

    verdict = retrain_trial(options)
    _print_next(options.model_folder)
    if strict and verdict.difference is not None:
        raise typer.Exit(1)


@takes_options(EnsembleOptions)
@ignore_broken_output()
def ensemble(options: EnsembleOptions) -> None:
    """Combine trials and the plain baseline into one model. Trains the trials again and verifies them."""
    with say_if_slow(LOADING, print):
        from tuning.ensemble.command import make_ensemble

    if not make_ensemble(options):
        raise KeyboardInterrupt
    _print_next(options.model_folder)


@takes_options(DistillOptions)
@ignore_broken_output()
def distill(
    options: DistillOptions,
    model: Annotated[Path, typer.Argument(help="Model folder of the teacher.", metavar="MODEL")],
) -> None:
    """Train one small model on the probabilities of MODEL. Uses the sentences of STUDY, and unlabelled sentences."""
    with say_if_slow(LOADING, print):
        from tuning.distill.command import distill_model

    distill_model(expand_user(str(model)), options)
    _print_next(options.model_folder)


def _print_next(model: Path) -> None:
    """Print how to use a model folder."""
    print(f"next: {program_name()} predict {path_argument(model)} 'your sentence'")
