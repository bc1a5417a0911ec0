"""Commands of small searches."""

import contextlib
import json
import os
import select
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.patience import PATIENCE_SECONDS
from tuning.resources.machine import Machine


def run(sentences: Path, name: str, *more: str) -> tuple[str, ...]:
    return ("run", str(sentences), "--vectors", "none", "--embedding-dim", "16", "--trials", "9", "--epochs", "4",
            "--parallelism", "3", "--grace", "1", "--set", "hidden_dim=int(4,16)", "--name", name, *more)  # fmt: skip


def notebook_run(sentences: Path, name: str, *more: str) -> tuple[str, ...]:
    return ("run", str(sentences), "--vectors", "none", "--embedding-dim", "8", "--space", "notebook", "--trials", "6",
            "--epochs", "4", "--parallelism", "3", "--grace", "1", "--set", "hidden_dim=int(4,16)", "--name", name,
            *more)  # fmt: skip


HOST = """
import contextlib, dataclasses, io, json, sys, time, traceback
from pathlib import Path
import tuning.backend.checkpoint_sync
import tuning.backend.interrupt
import tuning.backend.tuner
import tuning.run  # all that directs a search, without torch
from core.training.result import EpochResult
from core.errors import UserError
from ray import tune
from tests.support.corpora import tiny_corpus
from tests.support.fake_ray import Heard
from tests.support.study_configs import plan
from tuning.backend.local_ray import local_ray
from tuning.journal.writer import open_study
from tuning.resources.machine import Machine, TrialResources
from tuning.scheduling.asha import Asha
from tuning.scheduling.schedule import Schedule

def work(job, corpus, resources):
    from tuning.backend.worker import run_trial  # not before: this process needs no torch
    run_trial(job, corpus, resources)

def search(job, names, interrupt):
    resources, the_plan = eval(job["resources"], names), eval(f"plan({job['plan']})", names)
    with open_study(names["folder"], {}) as journal:
        session = lambda: contextlib.nullcontext(ray)
        backend = tuning.backend.tuner.RayBackend(session=session, resources=resources, workers=job["workers"],
                                                  train=names["work"])
        schedule = Schedule(journal, the_plan, lambda config: 1.0, [names["Heard"]()], interrupt,
                            retry_oom=resources.retry_oom)
        tuning.backend.tuner.run_schedule(schedule, tiny_corpus(), backend, interrupt)

cpus, gpus = map(int, sys.argv[1:])
machine = Machine(cpus=cpus, gpus=gpus)
with local_ray(machine, print) as ray:
    for line in sys.stdin:
        job = json.loads(line)
        said, problem = io.StringIO(), None
        folder = Path(job["folder"])
        interrupt = tuning.backend.interrupt.InterruptHandler(say=said.write)
        names = dict(globals())
        try:
            exec(job["work"], names)  # as a script: Ray's workers get its functions by value
            if "plan" in job:
                search(job, names, interrupt)
        except UserError as error:
            said.write(str(error))
        except Exception:
            problem = traceback.format_exc()
        print(json.dumps([said.getvalue(), problem]), flush=True)
"""


class Searches:
    """Searches one after the other in one process, so that only one Ray is started."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def __call__(
        self,
        folder: Path,
        work: str,
        plan: str = "n_trials=5, epochs=2",
        *,
        workers: int = 1,
        resources: str = "TrialResources()",
    ) -> str:
        """Run a search; returns what it said.

        Args:
            folder: of the study.
            work: a script that may define another `work` than to train, and another `Heard`.
            plan: what `tests.support.study_configs.plan` is called with.
            workers: trials at once.
            resources: of a trial.
        """
        return self.execute(work, folder=str(folder), plan=plan, workers=workers, resources=resources)

    def execute(self, work: str, folder: str = "", **search: Any) -> str:
        """Run a script where the searches run; returns what it said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        job = {"folder": folder, "work": textwrap.dedent(work), **search}
        self.process.stdin.write(f"{json.dumps(job)}\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], PATIENCE_SECONDS)[0], "the search takes too long"
        said, problem = json.loads(self.process.stdout.readline())
        assert problem is None, problem
        return str(said)


@contextlib.contextmanager
def searches(machine: Machine) -> Iterator[Searches]:
    """A Ray with a machine's CPUs and GPUs, and what runs searches on it."""
    # Ray refuses more GPUs than this variable names, also logical ones.
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(machine.cpus), str(machine.gpus)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=environment,
    ) as process:
        try:
            yield Searches(process)
            process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()  # where a search hangs: its Ray ends with it
