"""Groups of options under --help, and decorators that add the fields of a dataclass to the options of a command."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from typer.core import TyperCommand

from tuning.run_options import DATA_OPTIONS, RunOptions, corpus_arguments

GROUPS = ("Data", "Search", "Training", "Resources", "Budget", "Server", "Output")
"""Groups of options, in the order of --help; an option's group is its `rich_help_panel`."""


class GroupedCommand(TyperCommand):
    """A command whose --help has one section for each group of options. Needs no rich, which takes time to import."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for the arguments and for each group; --help itself is in the last."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in ("Arguments", *GROUPS)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                title = "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or "Output"
                sections[title].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def takes_options(options: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add all fields of a dataclass to the options of a command, which gets an instance as its first argument."""
    fields = inspect.signature(options).parameters.values()
    return lambda command: _with_fields(command, options, fields)


def takes_data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the data; the command gets the arguments of load_corpus, with leaks allowed, first."""
    fields = inspect.signature(RunOptions).parameters
    chosen = [fields[name] for name in DATA_OPTIONS if name != "allow_leak"]
    return _with_fields(command, lambda **values: corpus_arguments(values | {"allow_leak": True}), chosen)


def _with_fields(
    command: Callable[..., None], make: Callable[..., Any], fields: Iterable[inspect.Parameter]
) -> Callable[..., None]:
    """Return the command with these options after its own; `make` turns their values into its first argument."""

    @functools.wraps(command)
    def call(**values: Any) -> None:
        own = {parameter.name: values.pop(parameter.name) for parameter in parameters}
        command(make(**values), **own)

    _, *parameters = inspect.signature(command).parameters.values()
    everything = [*(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters), *fields]
    call.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
    del call.__wrapped__  # Typer would read the signature of the command itself
    return call
