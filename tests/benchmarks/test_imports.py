"""The benchmarks import no tests, and each folder is a package with a docstring about its measurements."""

import ast
from pathlib import Path

import pytest

import benchmarks

FOLDER = Path(benchmarks.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_a_benchmark_imports_no_tests(path: Path) -> None:
    """Imports inside functions and under TYPE_CHECKING count too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0  # relative imports would escape this test
            found.append(node.module or "")
    assert [name for name in found if name.split(".")[0] in ("tests", "pytest")] == []


def test_each_folder_is_a_package_with_a_docstring_and_nothing_else() -> None:
    folders = {path.parent for path in FILES}
    assert len(folders) >= 7
    for folder in folders:
        tree = ast.parse((folder / "__init__.py").read_text())
        assert ast.get_docstring(tree), folder
        assert len(tree.body) == 1, folder
