"""The command line: parse, call, print. Each command imports the heavy modules that it needs."""

import errno
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from core.errors import ConfigError, TrainingError, UserError
from core.io.atomic import PATH_REASONS
from core.io.system_errors import system_errors_as_user_errors
from core.io.text import one_line
from tuning.cli import data_commands, model_commands, study_commands
from tuning.cli.examples import examples
from tuning.cli.options import GroupedCommand, takes_options
from tuning.console import (
    handle_signals,
    ignore_broken_output,
    leave,
    leave_interrupted,
    prepare_streams,
    print_note,
    reader_has_left,
)
from tuning.run_options import AUTO, OutputOption, RunOptions

if TYPE_CHECKING:
    from tuning.space.space import Space

app = typer.Typer(
    name="sentune",
    help="Hyperparameter search for LSTM sentence classifiers.",
    epilog=examples(),
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


FIRST_STEPS = """sentune: hyperparameter search for LSTM sentence classifiers

  sentune run reviews.csv                 search; run it again to resume
  sentune retrain reviews-quick           train the recommended trial again, and save the model
  sentune predict results/reviews-quick/model "a gorgeous, witty, seductive movie"

sentune list shows your studies, sentune --help all commands, and sentune run --help the options of a search."""
"""What `sentune` alone prints."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"sentune {version('sentune')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    show_version: Annotated[
        bool, OutputOption("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Hyperparameter search for LSTM sentence classifiers."""
    if context.invoked_subcommand is None:
        print(FIRST_STEPS)


@app.command(cls=GroupedCommand, epilog=examples("run"))
@takes_options(RunOptions)
@ignore_broken_output()  # the search continues if nothing reads its output any more
def run(options: RunOptions) -> None:
    """Search for the best settings. Run the same command again to resume the study."""
    from tuning.run import run_study

    if not run_study(options):
        raise KeyboardInterrupt


@app.command(cls=GroupedCommand, epilog=examples("plan"))
@takes_options(RunOptions)
def plan(
    options: RunOptions,
    show_space: Annotated[bool, OutputOption("--show-space", help="Print only the search space.")] = False,
    format: Annotated[Literal["text", "json"], OutputOption(help="Output format.")] = "text",
) -> None:
    """Forecast time, memory and disk of a search. Takes the options of run, for this machine: it refuses --address."""
    if show_space:
        if format != "text":
            raise ConfigError(f"--show-space prints text, got --format {format}; leave it out")
        print(space_table(options.loaded_space))
        if options.vectors == AUTO and (lost := _only_with_vectors(options)):
            print(f"if the data get no word vectors, these are not searched: {', '.join(lost)}")
        return
    from tuning.forecast.command import make_forecast

    found = make_forecast(options, print_note)
    print(found if format == "text" else json.dumps(found.to_dict(), indent=2))


def _only_with_vectors(options: RunOptions) -> list[str]:
    """Return the names of the settings that are searched with word vectors only."""
    without = {dimension.name for dimension in options.space_for("none").dimensions}
    return [each.name for each in options.loaded_space.dimensions if each.name not in without]


app.command("list", cls=GroupedCommand, epilog=examples("list"))(study_commands.list_studies)
for verb in (
    study_commands.best,
    study_commands.report,
    study_commands.confirm,
    study_commands.retrain,
    study_commands.ensemble,
    study_commands.distill,
    model_commands.predict,
    model_commands.export,
    model_commands.serve,
    data_commands.data,
):
    app.command(cls=GroupedCommand, epilog=examples(verb.__name__))(verb)
INTERRUPTED = 130
"""What Typer returns after a KeyboardInterrupt."""


def main() -> NoReturn:
    """Run a command. An error that the user can fix becomes one line and exit code 2."""
    handle_signals()
    try:
        prepare_streams()
        with system_errors_as_user_errors():
            Path.cwd()  # in a folder that has been removed, torch would end the process
            code = app(standalone_mode=False) or 0
            sys.stdout.flush()
        if code == INTERRUPTED:
            leave_interrupted()
        leave(code)
    except KeyboardInterrupt:
        leave_interrupted()
    except (UserError, TrainingError) as error:  # retrain raises TrainingError for settings that the user chose
        message = one_line(str(error))
    except (OSError, SystemExit) as error:
        cause = error.__context__ if isinstance(error, SystemExit) else error  # Typer exits if a pipe is closed
        if not isinstance(cause, OSError) or cause.filename is not None:
            raise
        closed = cause.errno == errno.EPIPE and reader_has_left()
        if not closed and cause.errno not in (errno.EDQUOT, errno.EFBIG, errno.ENOSPC):
            raise cause from None
        if closed:
            leave(0)
        message = f"cannot write the output: {PATH_REASONS[cause.errno or 0]}"
    except typer.TyperException as error:  # of the parser
        message = parser_message(error.format_message())
    with ignore_broken_output():  # standard error may be a log on the full disk
        print(f"sentune: {message}", file=sys.stderr)
    leave(2)


def parser_message(found: str) -> str:
    """Return the message of Typer's parser as one line in the words of this program."""
    found = one_line(found).rstrip(".").replace("Value error, ", "").replace("Input should be", "must be")
    dash = found.startswith("No such option") and sys.argv[1:2] == ["predict"]
    return f"{found}; {'put -- before a sentence that begins with -, or ' if dash else ''}see sentune --help"


def space_table(space: "Space") -> str:
    """Return a table of all settings with values, condition and kind, as wide as the terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("setting", "values", "when", "kind"):
        table.add_column(title, overflow="fold")
    for row in space.describe():
        table.add_row(*map(Text, row))
    console = Console(width=shutil.get_terminal_size().columns)  # rich takes COLUMNS=0 for a width
    with console.capture() as captured:
        console.print(Text(f"space {space.name}: {len(space.dimensions)} settings are searched"))
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n")
