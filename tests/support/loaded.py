"""The modules that a fresh process has imported."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def loaded_by(code: str, *watched: str) -> set[str]:
    """Return those of the watched modules that Python code imports."""
    script = f"{code}\nimport sys\nprint(*[name for name in {watched!r} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return set(said.splitlines()[-1].split())


def loaded_by_command(words: list[str], *watched: str) -> set[str]:
    """Return those of the watched modules that a command, which must exit with 0, imports."""
    code = (
        f"import sys; sys.argv = {['sentune', *words]!r}\n"
        "from tuning.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as ended: assert ended.code == 0"
    )
    return loaded_by(code, *watched)
