"""tuning.cli.model_commands: a process that keeps a model open."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
from pathlib import Path
from tuning.cli.model_commands import _load

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

model = _load(Path("tests/golden/model"), threads=1)
for length in range(1, 300):
    model.predict(["film " * length] * (1 + length % 7))
    if length == 150:
        before = megabytes()
print(megabytes() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_shapes() -> None:
    fresh = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN_")}
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, cwd=ROOT, env=fresh
    )
    assert float(said.stdout) < 20  # 80 MB with 1,024 kernels
