"""The benchmarks import no tests, and what they import exists."""

import ast
import re
from pathlib import Path

import pytest

import benchmarks

FOLDER = Path(benchmarks.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))


def test_the_benchmarks_import_no_tests_and_nothing_relative() -> None:
    """Imports inside functions and under TYPE_CHECKING count too; relative ones would escape this test."""
    faults = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = ["." * node.level + (node.module or "")]
            faults += [f"{path}: {name}" for name in names if name.split(".")[0] in ("tests", "pytest", "")]
    assert faults == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of other packages, while they are imported
def test_what_the_benchmarks_import_exists() -> None:
    """In their functions, too. The scripts of peers need other packages."""
    faults = []
    for path in (path for path in FILES if path.parent.name != "scripts"):
        name = ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts)
        nodes = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        for line in (f"import {name}", *map(ast.unparse, nodes)):
            try:
                if re.match(r"(from|import) (benchmarks|core|tuning)\b", line):
                    exec(line, {})
            except Exception as error:
                faults.append(f"{path}: {line}: {error!r}")
    assert faults == []
