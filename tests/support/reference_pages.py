"""Write the parts of docs/reference/ that follow from the code; a test checks that they are current.

    python -m tests.support.reference_pages

A part is between two HTML comments that name it. The rest of a page is written by hand.
"""

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from core.config import SHORT_NAMES, TrialConfig
from tuning.analysis.listing import StudySummary
from tuning.analysis.random_search_curve import CurvePoint, RandomSearchCurve
from tuning.analysis.ranking import TrialRow
from tuning.cli.app import app
from tuning.cli.examples import EXAMPLES
from tuning.cli.options import GROUPS

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
COMMAND = "python -m tests.support.reference_pages"


def table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [titles, ("---",) * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def commands() -> str:
    """Return a section for each verb: what it does, its arguments and options by group, and examples."""
    group: Any = typer.main.get_command(app)
    of_run = {parameter.name for parameter in group.commands["run"].params}
    return "\n\n".join(_verb(name, verb, of_run if name == "plan" else set()) for name, verb in group.commands.items())


def _verb(name: str, verb: Any, elsewhere: set[str]) -> str:
    """Return the section of a verb; `elsewhere` are parameters that another verb's section has."""
    context = verb.make_context(name, [], resilient_parsing=True)
    usage = " ".join(["sentune", name, *(piece.strip("{}") for piece in verb.collect_usage_pieces(context))])
    parts = [f"## sentune {name}", inspect.cleandoc(verb.help), f"Usage: `{usage}`"]
    sections: dict[str, list[tuple[str, ...]]] = {title: [] for title in ("Arguments", *GROUPS)}
    for parameter in verb.params:
        if parameter.name not in {"help", *elsewhere}:
            is_argument = parameter.param_type_name == "argument"
            title = "Arguments" if is_argument else parameter.rich_help_panel
            sections[title].append(_parameter(parameter, context))
    for title, rows in sections.items():
        if rows:
            kind = "argument" if title == "Arguments" else "option"
            parts += [f"**{title}**", table((kind, "default", "meaning"), rows)]
    examples = "\n".join(EXAMPLES[name])
    return "\n\n".join(
        [
            *parts,
            f"<!-- not run: the examples of --help, which another test parses -->\n```sh\n{examples}\n```",
        ]
    )


def _parameter(parameter: Any, context: typer.Context) -> tuple[str, str, str]:
    """Return its names, its default and its help text."""
    names, text = parameter.get_help_record(context)
    found = re.fullmatch(r"(.*?)(?:  \[(.*)\])?", text, flags=re.DOTALL)
    assert found is not None
    notes = dict(note.split(": ") for note in (found[2] or "").split("; ") if ": " in note)
    meaning, _, said = found[1].partition(" Default: ")
    variable = f" Environment variable: `{notes['env var']}`." if "env var" in notes else ""
    return f"`{names}`", f"`{notes['default']}`" if "default" in notes else said.rstrip("."), f"{meaning}{variable}"


def fields(cls: type) -> str:
    """Return a table of the fields of a dataclass with their docstrings."""
    return table(("field", "meaning"), [(f"`{name}`", text) for name, text in _docstrings(cls)])


def settings() -> str:
    """Return a table of the fields of TrialConfig."""
    defaults = {each.name: each.default for each in dataclasses.fields(TrialConfig)}
    rows = [
        (f"`{name}`", SHORT_NAMES.get(name, ""), _default(defaults[name]), text)
        for name, text in _docstrings(TrialConfig)
    ]
    return table(("setting", "in tables", "default", "meaning"), rows)


def _default(value: Any) -> str:
    return {"None": "none", "True": "true", "False": "false"}.get(str(value), str(value))


def _docstrings(cls: type) -> Iterator[tuple[str, str]]:
    """Yield the fields of a dataclass with the string literals that follow them in its source."""
    (tree,) = ast.parse(inspect.cleandoc(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    for field, after in zip(tree.body, [*tree.body[1:], ast.Pass()], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if not is_text:
                raise ValueError(f"{cls.__name__}.{field.target.id} needs a docstring, which the reference shows")
            yield field.target.id, " ".join(after.value.value.split())


def measurements() -> str:
    """Return a table of the files in results/reference: each begins with its question and the answer."""
    rows = []
    for path in sorted((ROOT / "results" / "reference").glob("*.md")):
        question, answer = path.read_text().split("\n\n")[:2]
        rows.append((question.removeprefix("# "), " ".join(answer.split()), f"`{path.name}`"))
    return table(("question", "answer", "file"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "best": lambda: fields(TrialRow),
    "list": lambda: fields(StudySummary),
    "expected": lambda: fields(RandomSearchCurve),
    "budgets": lambda: fields(CurvePoint),
    "measurements": measurements,
}


def with_parts(page: str) -> str:
    """Return a page whose generated parts are those of the code as it is now."""

    def current(found: re.Match[str]) -> str:
        return f"{found[1]}\n\n{PARTS[found[2]]()}\n\n{found[3]}"

    return re.sub(r"(<!-- generated: (\w+) -->).*?(<!-- end -->)", current, page, flags=re.DOTALL)


if __name__ == "__main__":
    for path in sorted(REFERENCE.glob("*.md")):
        path.write_text(with_parts(path.read_text()))
