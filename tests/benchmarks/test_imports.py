"""The benchmarks import no tests, and what they import exists."""

import ast
import subprocess
import sys
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


IMPORTS = """
import ast, importlib, re, sys
from pathlib import Path

for file in sys.argv[1:]:
    try:
        importlib.import_module(file.removesuffix(".py").replace("/", "."))
        for node in ast.walk(ast.parse(Path(file).read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                line = ast.unparse(node)
                if re.match(r"(from|import) (benchmarks|core|tuning)\\b", line):
                    exec(line, {})
    except Exception as error:
        print(f"{file}: {error!r}")
"""


@pytest.mark.slow
def test_what_the_benchmarks_import_exists() -> None:
    """In their functions, too. The scripts of peers need other packages."""
    files = [str(path.relative_to(FOLDER.parent)) for path in FILES if path.parent.name != "scripts"]
    words = [sys.executable, "-c", IMPORTS, *files]
    said = subprocess.run(words, capture_output=True, text=True, check=True, cwd=FOLDER.parent).stdout
    assert said == ""
