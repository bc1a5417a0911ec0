"""Options that several commands share, their groups under --help, and decorators that add the fields of RunOptions."""

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from tuning.run_options import DATA_OPTIONS, DataOption, RunOptions, absolute_data_path, corpus_arguments

GROUPS = ("Data", "Search", "Training", "Resources", "Budget", "Server", "Output")
"""Groups of options, in the order of --help; an option's group is its `rich_help_panel`."""
TrainingOption = functools.partial(typer.Option, rich_help_panel="Training")

Study = Annotated[str, typer.Argument(help="Name or folder of a study.", metavar="STUDY")]
_moved = functools.partial(DataOption, parser=absolute_data_path, metavar="PATH")
MovedData = Annotated[str | None, _moved("--dataset", help="New path of the dataset. Default: as in the study.")]
MovedVectors = Annotated[
    str | None, _moved("--vectors", help="New path of the word vectors. Default: as in the study.")
]

TrainedOn = Annotated[
    Literal["train", "train+val"],
    TrainingOption(help="Splits to train on. With train+val, the number of steps stays the same."),
]


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


def takes_search_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add all fields of RunOptions to the options of a command, which gets a RunOptions as its first argument."""
    return _with_fields(command, RunOptions, inspect.signature(RunOptions).parameters)


def takes_data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the data; the command gets the arguments of load_corpus, with leaks allowed, first."""
    names = [name for name in DATA_OPTIONS if name != "allow_leak"]
    return _with_fields(command, lambda **values: corpus_arguments(values | {"allow_leak": True}), names)


def _with_fields(command: Callable[..., None], make: Callable[..., Any], names: Collection[str]) -> Callable[..., None]:
    """Return the command with these fields of RunOptions as further options; `make` turns them into its argument."""

    @functools.wraps(command)
    def call(**values: Any) -> None:
        own = {parameter.name: values.pop(parameter.name) for parameter in parameters}
        command(make(**values), **own)

    _, *parameters = inspect.signature(command).parameters.values()
    fields = [field for name, field in inspect.signature(RunOptions).parameters.items() if name in names]
    everything = [*fields, *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters)]
    call.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
    del call.__wrapped__  # Typer would read the signature of the command itself
    return call
