"""Where trials keep their checkpoints when the study's folder is not every worker's, or not enough.

On a cluster no folder is everyone's: a trial writes into its node's temporary folder, and with a storage brings each
epoch's checkpoint there and fetches the newest one where it goes on on another node. A storage that fails costs
nothing but that: the trial trains on and the person is told.

A trial's folder is named by its number and by everything its bits depend on, the study's by its name and its spec: what
lies under a name is of use to whoever looks for it, whenever it was left there.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data.corpus import Corpus
from core.errors import UserError
from core.io.checked_folder import canonical
from tuning.backend.cluster import Cluster
from tuning.backend.mirror import Mirror
from tuning.backend.storage import keep_only, remove
from tuning.resources.machine import Machine, Shares

FORGET_SECONDS = 120
"""A node that has not removed its checkpoints by then keeps them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeping:
    """Where the trials of a study keep their checkpoints."""

    study: str
    """The study's folder on nodes and in the storage, from tuning.scheduling.study.study_key."""
    on_node: bool
    """In the node's temporary folder; False: in the study's own folder, which all workers see."""
    storage: str | None
    """A path or a URI (tuning.backend.storage); None: nowhere else."""

    def work(self, job: Mapping[str, Any], corpus: Corpus, shares: Shares) -> None:
        """`run_trial` with its checkpoints kept so.

        Args:
            job: as of `run_trial`, and `open`: the numbers of the trials that were not finished when this one began.
            corpus: as of `run_trial`.
            shares: as of `run_trial`.
        """
        from tuning.backend.worker import run_trial  # Ray

        key = f"{job['number']:05d}-{_digest([job['config'], corpus.fingerprint])}"
        folder = _node_root() / self.study / key if self.on_node else Path(job["checkpoint_dir"])
        mirror = Mirror(self.storage, f"{self.study}/{key}", folder) if self.storage else None
        problems = [_problem(lambda: self._tidy(job)), _problem(mirror.fetch if mirror else None)]

        def saved() -> dict[str, str]:
            problems.append(_problem(mirror.push if mirror else None))
            told = next(filter(None, problems), "")
            problems.clear()
            return {"storage_problem": told} if told else {}

        run_trial({**job, "checkpoint_dir": str(folder)}, corpus, shares, saved)

    def forget(self, machine: Machine | Cluster, say: Callable[[str], None]) -> None:
        """Remove what is kept of a study that is complete.

        Args:
            machine: where it ran.
            say: told why something could not be removed.
        """
        if isinstance(machine, Cluster):
            machine.on_every_node(_forget_here, self.study, seconds=FORGET_SECONDS)
        if self.storage:
            problem = _problem(lambda: remove(str(self.storage), self.study))
            if problem:
                say(problem)

    def _tidy(self, job: Mapping[str, Any]) -> None:
        """Remove the checkpoints of finished trials. Those of a higher number may have begun after this one."""

        def spared(name: str) -> bool:
            number = name.split("-")[0]
            return not number.isdigit() or int(number) >= job["number"] or int(number) in job["open"]

        if self.on_node:
            keep_only(str(_node_root()), self.study, spared)
        if self.storage:
            keep_only(self.storage, self.study, spared)


def _forget_here(study: str) -> None:
    remove(str(_node_root()), study)


def _node_root() -> Path:
    """Where this node keeps checkpoints for this user."""
    return Path(tempfile.gettempdir()) / f"sentune-{os.getuid()}"


def _problem(action: Callable[[], None] | None) -> str:
    try:
        if action:
            action()
    except UserError as error:
        return str(error)
    return ""


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()[:12]
