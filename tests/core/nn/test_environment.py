"""core.nn.environment: what the bits depend on beside torch."""

import re
import shutil
from pathlib import Path

import pytest

from core.nn import environment


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that may be edited."""
    folder = tmp_path / "core"
    folder.mkdir()
    for file in Path(environment.__file__).parent.glob("*.py"):
        shutil.copy(file, folder)
    monkeypatch.setattr(environment, "__file__", str(folder / "provenance.py"))
    return folder


def test_the_same_code_in_another_place_has_the_same_digest(elsewhere: Path) -> None:
    digest = environment.code_digest.__wrapped__()
    assert digest == environment.code_digest()
    assert re.fullmatch("[0-9a-f]{16}", digest)


@pytest.mark.parametrize("file", ["optim.py", "a_new_one.py"])
def test_any_edit_of_the_package_changes_the_digest(elsewhere: Path, file: str) -> None:
    before = environment.code_digest.__wrapped__()
    with (elsewhere / file).open("a") as code:
        code.write("# one line more\n")
    assert environment.code_digest.__wrapped__() != before


def test_the_processor_has_a_name() -> None:
    assert environment.processor().strip() == environment.processor() != ""
