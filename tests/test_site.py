"""`make docs`: the site builds strictly from mkdocs.yml, is whole, and loads nothing from other hosts."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.built_site import problems

ROOT = Path(__file__).parent.parent
Built = Callable[..., tuple[int, Path]]


@pytest.fixture
def built(tmp_path: Path) -> Built:
    """Builds a copy of the pages after a change to them; returns the exit code and the site."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    config["plugins"][1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config))

    def build(path: str = "docs/index.md", change: Callable[[str], str] = str) -> tuple[int, Path]:
        (tmp_path / path).write_text(change((tmp_path / path).read_text()))
        zensical = Path(sys.executable).parent / "zensical"
        ended = subprocess.run([zensical, "build", "--strict"], capture_output=True, cwd=tmp_path, check=False)
        return ended.returncode, tmp_path / "build" / "site"

    return build


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


def test_the_site_builds_strictly_is_whole_and_loads_nothing_from_other_hosts(built: Built) -> None:
    code, site = built()
    assert code == 0
    assert list(problems(site)) == []


@pytest.mark.parametrize("text", ["[a page](missing.md)", "[a part](get-started.md#missing)", "::: tuning.missing"])
def test_a_broken_link_or_name_fails_the_build(built: Built, text: str) -> None:
    code, _ = built(change=lambda page: f"{page}\n{text}\n")
    assert code == 1


def test_a_missing_picture_or_page_and_a_foreign_script_are_found(built: Built) -> None:
    code, site = built(
        change=lambda page: f"{page}\n![](images/missing.png)\n<script src='https://a.example/b.js'></script>\n"
    )
    assert code == 0
    assert [line for line in problems(site) if line.startswith("index.html")] == [
        "index.html links to images/missing.png, which does not exist",
        "index.html loads https://a.example/b.js from another host",
    ]
    code, site = built("mkdocs.yml", lambda config: config.replace("glossary.md", "missing.md"))
    assert "architecture.html links to ./missing.md, which does not exist" in set(problems(site))
