"""The command line: parses, calls, prints. Heavy modules are imported inside the verb that needs them."""

import json
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from core.errors import ConfigError, UserError
from tuning import use
from tuning.called import program, typed
from tuning.options import (
    CacheDir,
    Dataset,
    EmbeddingDim,
    Encoding,
    LabelColumn,
    MovedData,
    MovedVectors,
    Results,
    Seed,
    Split,
    SplitColumn,
    Study,
    TextColumn,
    Vectors,
    absolute,
    data_options,
    study_folder,
    takes_search_options,
)
from tuning.steady_output import steady_output

if TYPE_CHECKING:
    from tuning.run import RunOptions

app = typer.Typer(
    name="sentune",
    help="Hyperparameter search for LSTM sentence classifiers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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


class TextFormat(StrEnum):
    """How `data` and `plan` print."""

    text = "text"
    json = "json"


class ConfirmFormat(StrEnum):
    """How `confirm` prints."""

    table = "table"
    json = "json"


class Splits(StrEnum):
    """What `retrain` learns from."""

    train = "train"
    both = "train+val"


@app.command()
@takes_search_options
@steady_output()  # who reads it may go away: the search goes on
def run(options: "RunOptions") -> None:
    """Search. The same command again resumes and completes the study."""
    from tuning.run import run_study

    try:
        complete = run_study(options)
    except KeyboardInterrupt:  # the second one, or one before the search began
        complete = False
    if not complete:
        _note(f"interrupted; the same command goes on: {typed()}")
        raise typer.Exit(130)
    folder, results = options.folder, options.results
    study = folder.name if results == Path("results") else str(folder)
    print(f"next: {program()} retrain {shlex.quote(study)} --out model")


@app.command()
@takes_search_options
def plan(
    options: "RunOptions",
    show_space: Annotated[
        bool, typer.Option("--show-space", help="only print every setting, its values and when")
    ] = False,
    format: Annotated[TextFormat, typer.Option(help="of the output")] = TextFormat.text,
) -> None:
    """Say what `run` would do with the same options, how long it takes and what it needs."""
    if show_space:
        from tuning.show import space_table

        print(space_table(options.loaded_space))
        return
    from tuning.plan import outlook

    found = outlook(options, _note)
    print(found if format == TextFormat.text else json.dumps(found.to_dict(), indent=2))


@app.command()
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
    """Show the best trials of STUDY, and what the best accuracy is worth."""
    from tuning.best import curve_of, table_of
    from tuning.selection import Selection, parse_where

    if expected and (state or where or sort != "rank"):
        raise ConfigError("--expected shows no rows: leave --state, --where and --sort out")
    conditions = tuple(parse_where(text) for text in where or ())
    selection = Selection(state=state, where=conditions, sort=sort, top=top)
    folder = study_folder(study, results)
    print(curve_of(folder, format) if expected else table_of(folder, selection, format))


@app.command()
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
    """Train a trial again, compare it with the search epoch by epoch, and save the model."""
    from tuning.retrain import RetrainOptions
    from tuning.retrain import retrain as retrain_trial

    folder = study_folder(study, results)
    target = out or folder / "model"
    verdict = retrain_trial(
        RetrainOptions(
            folder=folder,
            trial=trial,
            on=on,
            seeds=seeds,
            threads=threads,
            precision=precision,
            dataset=absolute(dataset) if dataset else None,
            vectors=absolute(vectors) if vectors else None,
            out=target,
            cache_dir=cache_dir,
            command=typed(),
        )
    )
    print(f"next: {program()} predict {shlex.quote(str(target))} 'a gorgeous, witty, seductive movie'")
    if strict and verdict.difference is not None:
        raise typer.Exit(1)


@app.command()
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
    """Train the best settings of STUDY and the notebook's on fresh seeds, and say which differ."""
    from tuning.confirm import ConfirmOptions
    from tuning.confirm import confirm as confirm_study

    options = ConfirmOptions(
        folder=study_folder(study, results),
        top=top,
        seeds=seeds,
        folds=folds,
        workers=workers,
        form=format,
        dataset=absolute(dataset) if dataset else None,
        vectors=absolute(vectors) if vectors else None,
        cache_dir=cache_dir,
    )
    try:
        complete = confirm_study(options)
    except KeyboardInterrupt:  # the second one, or one before Ray began
        complete = False
    if not complete:
        _note(f"interrupted; the same command goes on: {typed()}")
        raise typer.Exit(130)


app.command()(use.predict)
app.command()(use.export)
app.command()(use.serve)


@app.command()
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
    """Write STUDY as one HTML page, with its table, plots and mistakes."""
    from tuning.report import report as write_report

    folder = study_folder(study, results)
    target = out or folder / "report.html"
    write_report(folder, target, model=model, cache_dir=cache_dir, watch=watch, command=typed(), say=print)


@app.command()
def data(
    ctx: typer.Context,
    dataset: Dataset = "snippets",
    vectors: Vectors = "glove-50d",
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    split: Split = "80/10/10",
    encoding: Encoding = None,
    embedding_dim: EmbeddingDim = 300,
    seed: Seed = 42,
    format: Annotated[TextFormat, typer.Option(help="of the output")] = TextFormat.text,
    list_: Annotated[bool, typer.Option("--list", help="show what is in the cache instead")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="check every byte of the cache instead")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="empty the cache instead")] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Fetch, audit and cache DATASET; print the audit."""
    if list_ or verify or clear:
        if list_ + verify + clear > 1:
            raise ConfigError("--list, --verify and --clear go one at a time")
        from tuning.upkeep import upkeep

        upkeep(cache_dir, "list" if list_ else "verify" if verify else "clear", _note)
        return
    from core.audit import render
    from core.load import load_corpus

    options = data_options(ctx.params) | {"allow_leak": True}  # here leaks are shown; `run` refuses them
    corpus = load_corpus(**options, cache_dir=cache_dir, progress=_note)
    if format == TextFormat.text:
        print(render(corpus.source["audit"]))
        return
    about = {name: corpus.source[name] for name in ("dataset", "licence", "vectors", "vectors_licence", "tokenizer")}
    print(json.dumps({**about, "fingerprint": corpus.fingerprint, **corpus.source["audit"]}, indent=2))


def _note(line: str) -> None:
    print(line, file=sys.stderr)


# Typer keeps its parser's exceptions private; this is the base of them all.
ParserError: type[Exception] = typer.BadParameter.__mro__[2]


def main() -> NoReturn:
    """Run a verb; what the person can mend becomes one line and exit code 2."""
    from core.text import printable

    try:
        code = app(standalone_mode=False)
    except UserError as error:
        print(f"sentune: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("sentune: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
    except ParserError as error:
        message = error.format_message()  # type: ignore[attr-defined]
        print(f"sentune: {printable(message)}; see sentune --help", file=sys.stderr)
        sys.exit(2)
    sys.exit(code or 0)
