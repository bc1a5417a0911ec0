"""The command line: parses, calls, prints. Heavy modules are imported inside the verb that needs them."""

import errno
import json
import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from core.errors import ConfigError, TrainingError, UserError
from tuning.cli import model_commands, study_commands
from tuning.cli.examples import examples
from tuning.cli.options import (
    CacheDir,
    Dataset,
    EmbeddingDim,
    Encoding,
    LabelColumn,
    Seed,
    Split,
    SplitColumn,
    TextColumn,
    Vectors,
    data_options,
    takes_search_options,
)
from tuning.console import fill_closed_streams, interrupted, note, program, steady_output

if TYPE_CHECKING:
    from tuning.run_options import RunOptions

app = typer.Typer(
    name="sentune",
    help="Hyperparameter search for LSTM sentence classifiers.",
    epilog=examples(),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class TextFormat(StrEnum):
    """How `data` and `plan` print."""

    text = "text"
    json = "json"


@app.command(epilog=examples("run"))
@takes_search_options
@steady_output()  # who reads it may go away: the search goes on
def run(options: "RunOptions") -> None:
    """Search for the best settings. The same command again resumes and completes the study."""
    from tuning.run import run_study

    try:
        complete = run_study(options)
    except KeyboardInterrupt:  # the second one, or one before the search began
        complete = False
    if not complete:
        interrupted()
    folder, results = options.folder, options.results
    study = folder.name if results == Path("results") else str(folder)
    print(f"next: {program()} retrain {shlex.quote(study)} --out model")


@app.command(epilog=examples("plan"))
@takes_search_options
def plan(
    options: "RunOptions",
    show_space: Annotated[
        bool, typer.Option("--show-space", help="only print every setting, its values and when")
    ] = False,
    format: Annotated[TextFormat, typer.Option(help="of the output")] = TextFormat.text,
) -> None:
    """Say what `run` would do, how long it takes and what it needs. Takes the same options."""
    if show_space:
        from tuning.cli.show import space_table

        print(space_table(options.loaded_space))
        return
    from tuning.forecast.command import outlook

    found = outlook(options, note)
    print(found if format == TextFormat.text else json.dumps(found.to_dict(), indent=2))


for verb in (
    study_commands.best,
    study_commands.report,
    study_commands.confirm,
    study_commands.retrain,
    model_commands.predict,
    model_commands.export,
    model_commands.serve,
):
    app.command(epilog=examples(verb.__name__))(verb)


@app.command(epilog=examples("data"))
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
        from tuning.cli.data_commands import upkeep

        upkeep(cache_dir, "list" if list_ else "verify" if verify else "clear", note)
        return
    from core.data.audit import render
    from core.data.load import load_corpus

    options = data_options(ctx.params) | {"allow_leak": True}  # here leaks are shown; `run` refuses them
    corpus = load_corpus(**options, cache_dir=cache_dir, progress=note)
    if format == TextFormat.text:
        print(render(corpus.source["audit"]))
        return
    about = {name: corpus.source[name] for name in ("dataset", "licence", "vectors", "vectors_licence", "tokenizer")}
    print(json.dumps({**about, "fingerprint": corpus.fingerprint, **corpus.source["audit"]}, indent=2))


# Typer keeps its parser's exceptions private; this is the base of them all.
ParserError: type[Exception] = typer.BadParameter.__mro__[2]


def main() -> NoReturn:
    """Run a verb; what the person can mend becomes one line and exit code 2."""
    from core.io.text import printable

    fill_closed_streams()
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except (UserError, TrainingError) as error:  # the latter of fixed settings, which the person chose
        print(f"sentune: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        print("sentune: cannot write the output: the disk is full", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("sentune: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
    except ParserError as error:
        message = error.format_message()  # type: ignore[attr-defined]
        if len(sys.argv) == 1:  # `sentune` alone: the message is its help
            with steady_output():
                print(message)
            sys.exit(2)
        print(f"sentune: {printable(message).rstrip('.')}; see sentune --help", file=sys.stderr)
        sys.exit(2)
    sys.exit(code or 0)
