"""`python -m benchmarks` lists the scripts with one short sentence each; the Makefile runs some with a short form."""

import re
from pathlib import Path

import pytest

from benchmarks.__main__ import FOLDER, main, questions

QUESTIONS = questions()


def source(name: str) -> str:
    """Return the source of a script."""
    return Path(FOLDER.parent, *name.split(".")).with_suffix(".py").read_text()


def test_the_list_has_scripts_and_no_helper_modules(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    listed = dict(re.findall(r"^(benchmarks\.\S+)  +(\S.*)$", capsys.readouterr().out, flags=re.MULTILINE))
    assert listed == QUESTIONS
    assert listed["benchmarks.search.overhead"] == source("benchmarks.search.overhead").split('"""')[1].split("\n")[0]
    assert not {"benchmarks.__main__", "benchmarks.results"} & set(listed)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_script_begins_with_one_short_sentence(name: str) -> None:
    assert re.fullmatch(r"[A-Z].{20,78}[.?]", QUESTIONS[name])


def test_make_bench_runs_scripts_that_have_a_quick_form() -> None:
    makefile = (FOLDER.parent / "Makefile").read_text().replace("\\\n", " ")
    names = re.findall(r"^BENCHMARKS := (.*)$", makefile, flags=re.MULTILINE)[0].split()
    assert len(names) >= 10
    for name in names:
        assert re.search(r"parser?\(__doc__, \"", source(f"benchmarks.{name}")), name
