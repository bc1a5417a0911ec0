"""The Python API: `search` runs a study as the verb `run` does, and a `Study` has verbs of a study as methods."""

import contextlib
import difflib
import inspect
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from core.data.corpus import ReadOptions
from core.errors import ConfigError, UserError, short_repr
from core.io.system_errors import system_errors_as_user_errors
from core.io.text import one_line
from tuning.analysis.best import table_of
from tuning.analysis.filters import RowFilter, filter_rows, parse_where
from tuning.analysis.ranking import MAIN, TrialRow, read_assessed
from tuning.arguments import as_type, checked_arguments, path_option
from tuning.console import RENAMED, called_from_python, with_keywords
from tuning.frames import store_frame
from tuning.journal.folder import study_folder
from tuning.journal.records import NO_VALUE, read_study
from tuning.run_options import RunOptions
from tuning.study_options import ConfirmOptions, EnsembleOptions, RetrainOptions, Splits

if TYPE_CHECKING:
    import pandas as pd

    from core.inference.predictor import Predictor
    from tuning.confirm.summary import Summary
    from tuning.report.figures import StudyCharts

AnyPath = str | os.PathLike[str]
RENAMED_FIELDS = RENAMED | {"overrides": "set", "dataset": "data"}
"""Field of RunOptions -> argument of `search`, where the names differ."""
HINTS = get_type_hints(RunOptions)
KEYWORDS = {RENAMED_FIELDS.get(field, field): field for field in HINTS if field != "dataset"}
"""Keyword of `search` -> field of RunOptions."""
FRAMES = "frames"
"""Subfolder of the results folder with the data that came from memory."""


def search(data: Any = "snippets", **options: Any) -> "Study":
    """Search for the best settings on `data`. Repeat the call to continue the study.

    Args:
        data: A DataFrame of pandas, polars or pyarrow, a Dataset of Hugging Face, or two sequences (texts, labels).
            Also the argument of `sentune run`: a path, or the name of a dataset.
        **options: The options of `sentune run`, with underscores. `text` and `label` name the columns. `set` is a
            dictionary from settings to their ranges, or a list of texts as on the command line.

    Raises:
        UserError: The options, the data or the study have a problem that the user can fix.
        KeyboardInterrupt: The search was interrupted. The journal has every epoch that ended.
    """
    with _python_call("search(data, ...)"):
        chosen = _run_options(data, options)
    columns = {keyword: getattr(chosen, field) for field, keyword in RENAMED.items()}  # also those found in a frame
    given = options | {name: column for name, column in columns.items() if column is not None}
    shown = [repr(chosen.dataset), *(f"{name}={_shown(value)}" for name, value in given.items())]
    with _python_call(f"search({', '.join(shown)})"):
        from tuning.run import search_study

        if not search_study(chosen).finished:
            raise KeyboardInterrupt
    return Study(chosen.folder, chosen.cache_dir)


@checked_arguments
def load_study(
    study: AnyPath,
    *,
    results: AnyPath | None = None,
    cache_dir: AnyPath | None = None,
) -> "Study":
    """Return a study that exists.

    Args:
        study: Name or folder of the study.
        results: Folder that contains the studies. None for SENTUNE_RESULTS, or `results`.
        cache_dir: The cache folder; None for the default.

    Raises:
        UserError: There is no such study; the message names the existing ones.
    """
    folder = study_folder(os.fspath(study), _default_results() if results is None else _path(results))
    with _python_call("search(data, ...)"):
        read_study(folder)
    return Study(folder, cache_dir)


class Study:
    """A study on disk. Each call reads the journal, so it also shows the present state of a running study."""

    def __init__(self, folder: AnyPath, cache_dir: AnyPath | None = None) -> None:
        """Refer to the study in `folder`; `load_study` also checks that it exists."""
        self.folder = _path(folder).absolute()
        self.cache_dir = None if cache_dir is None else _path(cache_dir).absolute()

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.folder.name

    @checked_arguments
    def table(
        self, top: int | None = None, *, state: str | None = None, where: str | Sequence[str] = (), sort: str = "rank"
    ) -> "pd.DataFrame":
        """Return all trials but running ones, best first; the arguments are the options of `sentune best`.

        The columns are the fields of `sentune best --format json`, with a column for each searched setting.
        """
        import pandas as pd

        with self._call("table"):
            conditions = tuple(map(parse_where, [where] if isinstance(where, str) else where))
            found = read_assessed(self.folder)
            rows = filter_rows(found.rows, RowFilter(state=state, where=conditions, sort=sort, top=top))
        others = [name for name in TrialRow.__slots__ if name not in (*MAIN, "params")]
        records = [row.to_dict() | dict(row.params) for row in rows]
        table = pd.DataFrame(records, columns=[*MAIN, *found.space.searched_fields, *others])
        numbers = [name for name, kind in get_type_hints(TrialRow).items() if {int, float} & {*get_args(kind)}]
        # A column of None alone would hold objects.
        return table.astype({name: float for name in numbers if table[name].dtype == object})

    @property
    def best(self) -> TrialRow:
        """The best trial: `study.best.trial`, `.val_accuracy`, `.corrected`, `.params` and other fields.

        Raises:
            UserError: No trial has ended with a value.
        """
        with self._call("best"):
            found = read_assessed(self.folder).winner
            if found is None:
                raise UserError(f"no trial of study {self.name!r} {NO_VALUE}")
        return found

    @property
    def recommended(self) -> TrialRow | None:
        """The recommended trial, see tuning.analysis.recommendation; None if no trial can be recommended."""
        with self._call("recommended"):
            return read_assessed(self.folder).recommended

    @property
    def charts(self) -> "StudyCharts":
        """The study's charts: `study.charts.history()` and others, see `dir(study.charts)`. Each is an Altair chart."""
        from tuning.report.figures import StudyCharts

        return StudyCharts(self.folder, self._call)

    @checked_arguments
    def retrain(
        self,
        trial: int | str = "recommended",
        *,
        on: Splits = "train",
        seeds: int = 1,
        strict: bool = False,
        threads: int | None = None,
        precision: str | None = None,
        dataset: str | None = None,
        vectors: str | None = None,
        out: AnyPath | None = None,
    ) -> "Predictor":
        """Train a trial again, compare it with the search, save the model and return it.

        The arguments are the options of `sentune retrain`. Default of `out`: folder `model` in the study's folder.

        Raises:
            UserError: The trial cannot be chosen, or `strict` and the search is not reproduced.
            TrainingError: The loss or the metric is not a number; this is no UserError.
        """
        from tuning.retrain.command import retrain_trial

        with self._call(
            "retrain", trial=trial, on=on, seeds=seeds, strict=strict, threads=threads, precision=precision,
            dataset=dataset, vectors=vectors, out=out,
        ):  # fmt: skip
            options = RetrainOptions(
                trial=str(trial), on=on, seeds=seeds, threads=threads, precision=precision,
                **self._paths(dataset=dataset, vectors=vectors, out=out),
            )  # fmt: skip
            verdict = retrain_trial(options)
            if strict and verdict.difference is not None:
                raise UserError(f"the search is not reproduced ({verdict}); pass strict=False to accept it")
            return _load(options.model_folder)

    @checked_arguments
    def ensemble(
        self,
        *,
        size: int = 5,
        max_cost: int | None = None,
        on: Splits = "train",
        workers: int | None = None,
        dataset: str | None = None,
        vectors: str | None = None,
        out: AnyPath | None = None,
    ) -> "Predictor":
        """Combine trials and the plain baseline into one model, save and return it.

        The arguments are the options of `sentune ensemble`. Default of `out`: folder `ensemble` in the study's folder.

        Raises:
            UserError: The study or an argument has a problem that the user can fix.
            TrainingError: A trial cannot be trained again, such as for lack of memory; this is no UserError.
        """
        from tuning.ensemble.command import make_ensemble

        with self._call(
            "ensemble", size=size, max_cost=max_cost, on=on, workers=workers,
            dataset=dataset, vectors=vectors, out=out,
        ):  # fmt: skip
            options = EnsembleOptions(
                size=size, max_cost=max_cost, on=on, workers=workers,
                **self._paths(dataset=dataset, vectors=vectors, out=out),
            )  # fmt: skip
            if not make_ensemble(options):
                raise KeyboardInterrupt
            return _load(options.model_folder)

    @checked_arguments
    def confirm(
        self,
        top: int = 5,
        *,
        seeds: int = 5,
        folds: int | None = None,
        workers: int | None = None,
        dataset: str | None = None,
        vectors: str | None = None,
    ) -> "Summary":
        """Train the best configurations on new seeds, print the comparison, and return it.

        The arguments are the options of `sentune confirm`.
        """
        from tuning.confirm.command import confirm_study
        from tuning.confirm.tables import render_summary

        with self._call(
            "confirm", top=top, seeds=seeds, folds=folds, workers=workers, dataset=dataset, vectors=vectors
        ):
            paths = self._paths(dataset=dataset, vectors=vectors)
            summary = confirm_study(ConfirmOptions(top=top, seeds=seeds, folds=folds, workers=workers, **paths))
            if summary is None:
                raise KeyboardInterrupt
            print(render_summary(summary, "table"))
            return summary

    @checked_arguments
    def report(self, path: AnyPath | None = None, *, images: AnyPath | None = None) -> Path:
        """Write the study as one HTML page, and return its path.

        Args:
            path: The file. None for `report.html` in the study's folder.
            images: Folder for each chart as PNG and SVG; None for no images.
        """
        from tuning.report.command import write_report

        target = self.folder / "report.html" if path is None else _path(path)
        with self._call("report", path=target, images=images) as call:
            pictures = None if images is None else _path(images)
            write_report(self.folder, target, pictures, cache_dir=self.cache_dir, watch=False, command=call)
        return target

    def __fspath__(self) -> str:
        """Return the folder, so that a study can be given where a path is expected."""
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r})"

    def __str__(self) -> str:
        """Return the table and the summary of `sentune best`."""
        with self._call("table"):
            return table_of(self.folder, RowFilter(top=10), "table")

    def _repr_html_(self) -> str:
        """Return the table and the summary for a notebook."""
        with self._call("table"):
            return table_of(self.folder, RowFilter(top=10), "html")

    def _paths(self, *, dataset: str | None, vectors: str | None, out: AnyPath | None = None) -> dict[str, Any]:
        """Return the study and the given paths as options of a verb, as Typer makes them from a command line."""
        paths: dict[str, Any] = {"study": str(self.folder), "cache_dir": self.cache_dir}
        paths |= {"dataset": dataset, "vectors": vectors}
        return paths if out is None else paths | {"out": _path(out)}

    @contextlib.contextmanager
    def _call(self, verb: str, **arguments: Any) -> Iterator[str]:
        """Run a method under its own name, which cards and messages show."""
        given = {name: value for name, value in arguments.items() if value is not None and value is not False}
        shown = (f"{name}={_shown(value)}" for name, value in given.items())
        call = f"study.{verb}({', '.join(shown)})"
        with _python_call(call):
            yield call


def _run_options(data: Any, given: Mapping[str, Any]) -> RunOptions:
    """Return the checked options of a search. Data from memory are first written into the results folder.

    Raises:
        ConfigError: An option is unknown, has another type, or breaks its rule.
        DataError: The data cannot be used.
    """
    for name in given:
        if name not in KEYWORDS:
            close = [RENAMED_FIELDS[name]] if name in RENAMED_FIELDS else difflib.get_close_matches(name, KEYWORDS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(sorted(KEYWORDS))}"
            raise ConfigError(f"search has no option {name!r}; {hint}")
    values: dict[str, Any] = {
        KEYWORDS[name]: _overrides(value) if name == "set" else as_type(name, value, HINTS[KEYWORDS[name]])
        for name, value in given.items()
    }
    values.setdefault("results", _default_results())
    if isinstance(data, str | os.PathLike):
        return RunOptions(dataset=as_type("data", data, AnyPath), **values)
    chosen = RunOptions(**values)  # a wrong option is found before the data are read
    columns = ReadOptions(**{name: values[name] for name in ReadOptions.__slots__ if name in values})
    path, columns = store_frame(data, columns, chosen.results / FRAMES)
    named = {"text_column": columns.text_column, "label_column": columns.label_column}
    return RunOptions(**{**values, **named, "dataset": str(path)})


def _overrides(value: Any) -> list[str] | None:
    """Return `set` as the texts of the command line."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return [f"{name}={_expression(content)}" for name, content in value.items()]
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"set must be a dictionary such as {{'hidden_dim': 'int(64,256)'}}, got {short_repr(value)}")
    return list(value)


def _expression(content: Any) -> str:
    """Return the range of one setting as on the command line: `["last", "max"]` becomes `[last, max]`."""
    return f"[{', '.join(map(str, content))}]" if isinstance(content, list | tuple) else str(content)


def _default_results() -> Path:
    return _path(os.environ.get("SENTUNE_RESULTS") or "results")


def _path(path: AnyPath) -> Path:
    return path_option(os.fspath(path))


def _shown(value: Any) -> str:
    try:
        return repr(os.fspath(value)) if isinstance(value, os.PathLike) else repr(value)
    except ValueError:  # such as 10**5000
        return short_repr(value)


def _load(folder: Path) -> "Predictor":
    from core.inference.predictor import load_model

    return load_model(folder)


@contextlib.contextmanager
def _python_call(call: str) -> Iterator[None]:
    """Let messages name this call instead of a command line, and keywords instead of options.

    The levels of the loggers that sentune changes are restored.
    """
    loggers = [logging.getLogger(name) for name in ("optuna", "ray.tune", "ray.widgets")]
    before = [logger.level for logger in loggers]
    loggers[-1].setLevel(logging.ERROR)  # Ray recommends ipywidgets when a notebook imports it
    try:
        with called_from_python(call), system_errors_as_user_errors():
            yield
    except UserError as error:
        error.args = (one_line(with_keywords(str(error))),)
        raise
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _signature() -> inspect.Signature:
    """Return the signature of `search` with each option, which `help` and notebooks show."""
    data, _ = inspect.signature(search).parameters.values()
    fields = inspect.signature(RunOptions).parameters
    options = [fields[field].replace(name=keyword, annotation=HINTS[field]) for keyword, field in KEYWORDS.items()]
    return inspect.Signature([data, *options], return_annotation=Study)


search.__signature__ = _signature()  # type: ignore[attr-defined]
