"""`python -m benchmarks` lists every script with its question; the Makefile runs scripts that it lists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import FOLDER, listing

ROOT = FOLDER.parent
LISTED = dict(re.findall(r"^  (\S+)  +(.*)$", "\n".join(listing(FOLDER)), flags=re.MULTILINE))


def write(folder: Path, name: str, docstring: str, *, script: bool) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    guard = '\nif __name__ == "__main__":\n    raise SystemExit("it was run")\n' if script else ""
    (folder / name).write_text(f'"""{docstring}"""\n\nraise ImportError("it was imported")\n{guard}')


def test_scripts_are_grouped_by_folder_and_not_imported(tmp_path: Path) -> None:
    """A helper, a folder without scripts and the listing itself are left out."""
    folder = tmp_path / "benchmarks"
    write(folder, "__init__.py", "All.", script=False)
    write(folder, "__main__.py", "This list.", script=True)
    write(folder, "top.py", "At the top?\n\nDetails.", script=True)
    write(folder, "speed/__init__.py", "Speed.", script=False)
    write(folder, "speed/fast.py", "Is it fast?", script=True)
    write(folder, "speed/very_slow.py", "Is it slow?", script=True)
    write(folder, "speed/helper.py", "Helps.", script=False)
    write(folder, "helpers/__init__.py", "Helpers.", script=False)
    write(folder, "helpers/other.py", "Helps too.", script=False)
    assert list(listing(folder)) == [
        "\nbenchmarks: All.",
        "  benchmarks.top  At the top?",
        "\nspeed: Speed.",
        "  benchmarks.speed.fast       Is it fast?",
        "  benchmarks.speed.very_slow  Is it slow?",
    ]


@pytest.mark.slow
def test_the_command_prints_the_list_without_importing_a_benchmark() -> None:
    code = (
        "import runpy, sys; runpy.run_module('benchmarks', run_name='__main__')\n"
        "assert not {'torch', 'ray', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "\nsearch: " in done.stdout
    assert "  benchmarks.search.overhead " in done.stdout


@pytest.mark.parametrize("name", LISTED)
def test_a_script_begins_with_one_short_sentence(name: str) -> None:
    assert re.fullmatch(r"[A-Z].{20,78}[.?]", LISTED[name])


def test_make_bench_runs_listed_scripts_that_have_a_quick_form() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    names = re.findall(r"^BENCHMARKS := (.*)$", makefile, flags=re.MULTILINE)[0].split()
    assert len(names) >= 10
    for name in names:
        assert f"benchmarks.{name}" in LISTED
        script = (FOLDER / f"{name.replace('.', '/')}.py").read_text()
        assert re.search(r"parser?\(__doc__, \"", script), name
