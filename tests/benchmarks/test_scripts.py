"""Each benchmark begins with a short sentence; the Makefile runs benchmarks that have a short form."""

import re
from pathlib import Path

import pytest

import benchmarks

FOLDER = Path(benchmarks.__file__).parent
SCRIPTS = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts): text
    for path in (*FOLDER.glob("*.py"), *FOLDER.glob("*/*.py"))
    if '\nif __name__ == "__main__":\n' in (text := path.read_text())
}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_begins_with_one_short_sentence(name: str) -> None:
    assert re.match(r'"""[A-Z].{20,78}[.?](\n|"""\n)', SCRIPTS[name])


def test_make_bench_runs_scripts_that_have_a_quick_form() -> None:
    makefile = (FOLDER.parent / "Makefile").read_text().replace("\\\n", " ")
    names = re.findall(r"^BENCHMARKS := (.*)$", makefile, flags=re.MULTILINE)[0].split()
    assert len(names) >= 10
    for name in names:
        assert re.search(r"parser?\(__doc__, \"", SCRIPTS[name]), name
