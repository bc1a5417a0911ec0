"""Options that several commands share, and the decorators that add the fields of RunOptions to a command."""

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

import typer

from tuning.run_options import DATA_OPTIONS, RunOptions, absolute_data_path, corpus_arguments

Study = Annotated[str, typer.Argument(help="Name or folder of a study.", metavar="STUDY")]
_moved = functools.partial(typer.Option, parser=absolute_data_path, metavar="PATH")
MovedData = Annotated[str | None, _moved("--dataset", help="New path of the dataset, if it was moved.")]
MovedVectors = Annotated[str | None, _moved("--vectors", help="New path of the word vectors, if they were moved.")]

TrainedOn = Annotated[
    Literal["train", "train+val"], typer.Option(help="Splits to train on; train+val takes the same number of steps.")
]


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
