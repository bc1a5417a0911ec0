"""The verbs that look at a study or go on from it: best, report, confirm, retrain."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.errors import ConfigError
from tuning.cli.options import MovedData, MovedVectors, Study
from tuning.console import command_line, exit_interrupted, ignore_broken_output, program_name
from tuning.run_options import CacheDir, Results, study_folder


class Format(StrEnum):
    """How `best` prints."""

    table = "table"
    json = "json"
    csv = "csv"
    md = "md"


class State(StrEnum):
    """Trials that `best` shows."""

    done = "done"
    stopped = "stopped"
    failed = "failed"
    all = "all"


class ConfirmFormat(StrEnum):
    """How `confirm` prints."""

    table = "table"
    json = "json"


class Splits(StrEnum):
    """What `retrain` learns from."""

    train = "train"
    both = "train+val"


def best(
    study: Study,
    top: Annotated[int, typer.Option(help="how many rows")] = 10,
    state: Annotated[State | None, typer.Option(help="only trials that ended so; all: also unfinished ones")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="only rows of which it holds, such as n_layers=1 or 'val_accuracy>0.7'")
    ] = None,
    sort: Annotated[str, typer.Option(help="by a field or a setting; -FIELD to begin with the highest")] = "rank",
    expected: Annotated[
        bool, typer.Option("--expected", help="instead: the accuracy to expect of random search, by budget")
    ] = False,
    format: Annotated[Format, typer.Option(help="of the output")] = Format.table,
    results: Results = Path("results"),
) -> None:
    """Show the best trials of STUDY, and what the best one is worth."""
    from tuning.analysis.best import curve_of, table_of
    from tuning.analysis.filters import RowFilter, parse_where

    if expected and (state or where or sort != "rank"):
        raise ConfigError("--expected shows no rows: leave --state, --where and --sort out")
    conditions = tuple(parse_where(text) for text in where or ())
    selection = RowFilter(state=state, where=conditions, sort=sort, top=top)
    folder = study_folder(study, results)
    print(curve_of(folder, format) if expected else table_of(folder, selection, format))


def report(
    study: Study,
    out: Annotated[Path | None, typer.Option(help="the HTML file; default: STUDY's folder/report.html")] = None,
    model: Annotated[
        Path | None, typer.Option(help="the best trial's model, for confidences; default: STUDY's folder/model")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="make it again while the study runs")] = False,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Write STUDY as one HTML page: table, plots and mistakes."""
    from tuning.report.command import report as write_report

    folder = study_folder(study, results)
    target = out or folder / "report.html"
    write_report(folder, target, model=model, cache_dir=cache_dir, watch=watch, command=command_line(), say=print)


@ignore_broken_output()
def confirm(
    study: Study,
    top: Annotated[int, typer.Option(help="settings, by rank; the notebook's is added")] = 5,
    seeds: Annotated[int, typer.Option(help="fresh seeds for each setting")] = 5,
    folds: Annotated[int | None, typer.Option(help="cross-validate the winner too, over so many folds")] = None,
    workers: Annotated[int | None, typer.Option(help="runs at once, at most")] = None,
    format: Annotated[ConfirmFormat, typer.Option(help="of the output")] = ConfirmFormat.table,
    dataset: MovedData = None,
    vectors: MovedVectors = None,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Train the best settings on fresh seeds, and say which differ. The notebook's setting is among them."""
    from tuning.confirm.command import ConfirmOptions
    from tuning.confirm.command import confirm as confirm_study

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
    try:
        complete = confirm_study(options)
    except KeyboardInterrupt:  # the second one, or one before Ray began
        complete = False
    if not complete:
        exit_interrupted()


@ignore_broken_output()
def retrain(
    study: Study,
    trial: Annotated[str, typer.Option(help="best, or a trial's number")] = "best",
    out: Annotated[Path | None, typer.Option(help="the model folder; default: STUDY's folder/model")] = None,
    on: Annotated[Splits, typer.Option(help="train, or train+val for the same number of steps")] = Splits.train,
    seeds: Annotated[int, typer.Option(help="models to train; the median by validation is kept")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 when the search is not reproduced")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: as in the study")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16; default: as in the study")] = None,
    dataset: MovedData = None,
    vectors: MovedVectors = None,
    results: Results = Path("results"),
    cache_dir: CacheDir = None,
) -> None:
    """Train a trial again, compare it with the search, save the model. Each epoch is compared, to the last bit."""
    from tuning.retrain.command import RetrainOptions
    from tuning.retrain.command import retrain as retrain_trial

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
    try:
        verdict = retrain_trial(options)
    except KeyboardInterrupt:
        exit_interrupted()
    print(f"next: {program_name()} predict {shlex.quote(str(target))} 'a gorgeous, witty, seductive movie'")
    if strict and verdict.difference is not None:
        raise typer.Exit(1)
