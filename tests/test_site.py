"""`make docs`: the site builds strictly from mkdocs.yml, is whole, and loads nothing from other hosts."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.built_site import problems

ROOT = Path(__file__).parent.parent


def build(folder: Path, **changes: Any) -> "subprocess.CompletedProcess[str]":
    """Build the pages in `folder / "docs"` into `build/site`, with other values of some settings of mkdocs.yml."""
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text()) | changes
    config["plugins"][1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(config))
    words = (Path(sys.executable).parent / "zensical", "build", "--strict")
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, check=False)


def pages_in(nav: Any) -> Iterator[str]:
    for entry in nav if isinstance(nav, list) else nav.values():
        if isinstance(entry, str):
            yield entry
        else:
            yield from pages_in(entry)


def test_every_page_is_in_the_navigation_once() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(pages_in(nav)) == sorted(
        path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[](missing.md) [](other.md#missing)", ("page does not exist", "anchor does not exist")),
        ("::: tuning.missing", ("Could not collect 'tuning.missing'",)),
    ],
)
def test_a_broken_link_or_name_fails_the_build(tmp_path: Path, text: str, said: tuple[str, ...]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# A page\n\n{text}\n")
    (tmp_path / "docs" / "other.md").write_text("# Another page\n")
    ended = build(tmp_path, nav=["index.md", "other.md"])
    assert ended.returncode == 1
    assert all(each in ended.stdout + ended.stderr for each in said)


@pytest.mark.slow
def test_the_site_builds_strictly_and_has_no_missing_file_and_no_foreign_script_but_those_that_are_added(
    tmp_path: Path,
) -> None:
    """Zensical itself does not complain of a missing picture, or of a missing page that only mkdocs.yml names."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with (tmp_path / "docs" / "index.md").open("a") as page:
        page.write("\n![](images/missing.png)\n<script src='https://a.example/b.js'></script>\n")
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert build(tmp_path, nav=[*nav, "missing.md"]).returncode == 0
    found = list(problems(tmp_path / "build" / "site"))
    assert [line for line in found if not line.endswith("missing.md, which does not exist")] == [
        "index.html links to images/missing.png, which does not exist",
        "index.html loads https://a.example/b.js from another host",
    ]
    assert "architecture.html links to ./missing.md, which does not exist" in found
