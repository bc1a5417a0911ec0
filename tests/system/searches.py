"""Commands of small searches."""

import subprocess
import sys
import textwrap
from pathlib import Path


def run(sentences: Path, name: str, *more: str) -> tuple[str, ...]:
    return ("run", str(sentences), "--vectors", "none", "--embedding-dim", "16", "--trials", "9", "--epochs", "4",
            "--window", "3", "--grace", "1", "--set", "hidden_dim=int(4,16)", "--name", name, *more)  # fmt: skip


def notebook_run(sentences: Path, name: str, *more: str) -> tuple[str, ...]:
    return ("run", str(sentences), "--vectors", "none", "--embedding-dim", "8", "--space", "notebook", "--trials", "6",
            "--epochs", "4", "--window", "3", "--grace", "1", "--set", "hidden_dim=int(4,16)", "--name", name,
            *more)  # fmt: skip


SEARCH = """
import dataclasses, sys, time
from pathlib import Path
from core.errors import UserError
from core.epoch import EpochResult
from ray import tune
from tests.fakes import tiny_corpus
from tests.tuning.plans import plan
from tests.tuning.fake_ray import Heard
from tuning.ledger import open_ledger
from tuning.resources import Machine, Shares
from tuning.search import Interruption, search
{work}
the_plan = plan({plan})
with open_ledger(Path(sys.argv[1]), {{}}) as ledger:
    interruption = Interruption(say=print, lost=print)
    try:
        search(ledger, the_plan, tiny_corpus(), Shares(), Machine(cpus={workers}, gpus=0), {workers}, Heard(),
               interruption, work)
    except UserError as error:
        print(error)
"""


def search(folder: Path, work: str, plan: str = "n_trials=5, epochs=2", workers: int = 1) -> str:
    """Run a search whose trials do `work`; returns what it printed."""
    script = SEARCH.format(work=textwrap.dedent(work), plan=plan, workers=workers)
    ended = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout
