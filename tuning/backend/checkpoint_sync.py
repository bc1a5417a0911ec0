"""Checkpoints of trials outside the study's folder: on the nodes of a cluster, and in a shared storage.

The nodes of a cluster do not share a folder. A trial writes its checkpoints into its node's temporary folder. With
`--storage` it also copies each checkpoint to the storage, and downloads the latest one if it continues on another node.
Storage errors are reported and do not stop the trial.

The name of a trial's folder contains its number and a digest of everything that its results depend on; the name of the
study's folder contains its name and a digest of its spec. Whatever is found under a name can therefore be used.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from core.data.corpus import Corpus
from core.errors import CorruptionError, UserError
from core.io.atomic import atomic_folder
from core.io.checked_folder import CHECKSUMS, canonical_json
from core.training.checkpoint import FILES, checkpoint_names, load
from tuning.backend.cluster import Cluster
from tuning.backend.storage import delete, errors_as_user_errors, make_folder, open_filesystem, prune, remove
from tuning.resources.machine import Machine, TrialResources

REMOVE_SECONDS = 120
"""A node that has not removed its checkpoints by then keeps them."""


class RemoteCheckpoints:
    """A trial's folder in the storage, and its twin on the node that trains."""

    def __init__(self, where: str, key: str, local: Path) -> None:
        """
        Args:
            where: the storage, as `open_filesystem` takes it.
            key: of the trial's folder in it, with slashes.
            local: the trial's folder on this node.
        """
        self.where, self.key, self.local = where, key, local
        self._there: set[str] | None = None  # whole ones in the storage, once we know

    def download_latest(self) -> None:
        """Bring the newest whole checkpoint to the node, unless the node has one that is as new.

        Raises:
            UserError: the storage does not answer, or its rights do not suffice.
        """
        with errors_as_user_errors(self.where):
            there = self._listed()
            newest_here = max(checkpoint_names(self.local), default="")
            for name in sorted(there, reverse=True):
                if name <= newest_here or self._download(name):
                    return
                there.discard(name)  # damaged; uploaded again after its epoch

    def upload_new(self) -> None:
        """Bring the node's checkpoints to the storage, and remove those there that the node has removed.

        Raises:
            UserError: the storage does not answer, is full, or its rights do not suffice.
        """
        with errors_as_user_errors(self.where):
            here, there = set(checkpoint_names(self.local)), self._listed()
            for name in sorted(here - there):
                self._upload(name)
                there.add(name)
            for old in sorted(there - here):
                delete(self._place[0], f"{self._place[1]}/{old}")
                there.discard(old)

    def _listed(self) -> set[str]:
        if self._there is None:
            from pyarrow.fs import FileSelector

            system, root = self._place
            found = system.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
            self._there = {PurePosixPath(file.path).parent.name for file in found if file.base_name == CHECKSUMS}
        return self._there

    def _download(self, name: str) -> bool:
        """Whether it was whole."""
        from pyarrow.fs import LocalFileSystem, copy_files

        system, root = self._place
        try:
            with atomic_folder(self.local / name) as work:
                for part in (*FILES, CHECKSUMS):
                    copy_files(f"{root}/{name}/{part}", str(work / part), system, LocalFileSystem())
                load(work)
        except (CorruptionError, FileNotFoundError):
            return False
        return True

    def _upload(self, name: str) -> None:
        from pyarrow.fs import LocalFileSystem, copy_files

        system, root = self._place
        make_folder(system, f"{root}/{name}")
        for part in (*FILES, CHECKSUMS):  # the checksums last
            # Without threads: with them pyarrow can hang on uploads (its issue 32372).
            copy_files(
                str(self.local / name / part), f"{root}/{name}/{part}", LocalFileSystem(), system, use_threads=False
            )

    @cached_property
    def _place(self) -> tuple[Any, str]:
        system, root = open_filesystem(self.where)
        return system, f"{root}/{self.key}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointStore:
    """Where the trials of a study keep their checkpoints."""

    study: str
    """The study's folder on nodes and in the storage, from tuning.scheduling.study.study_id."""
    on_node: bool
    """In the node's temporary folder; False: in the study's own folder, which all workers see."""
    storage: str | None
    """A path or a URI (tuning.backend.storage); None: nowhere else."""

    def run_trial(self, job: Mapping[str, Any], corpus: Corpus, resources: TrialResources) -> None:
        """Call `tuning.backend.worker.run_trial` with its checkpoints in this store.

        `job` also has `kept`: the numbers of the trials whose checkpoints were kept when this job started.
        """
        from tuning.backend.worker import run_trial  # Ray

        key = f"{job['number']:05d}-{_digest([job['config'], corpus.fingerprint])}"
        folder = _node_root() / self.study / key if self.on_node else Path(job["checkpoint_dir"])
        mirror = RemoteCheckpoints(self.storage, f"{self.study}/{key}", folder) if self.storage else None
        problems = [_problem(lambda: self._prune(job)), _problem(mirror.download_latest if mirror else None)]

        def saved() -> dict[str, str]:
            problems.append(_problem(mirror.upload_new if mirror else None))
            problem = next(filter(None, problems), "")
            problems.clear()
            return {"storage_problem": problem} if problem else {}

        run_trial({**job, "checkpoint_dir": str(folder)}, corpus, resources, saved)

    def remove_all(self, machine: Machine | Cluster, say: Callable[[str], None]) -> None:
        """Remove what is kept of a study that is complete.

        Args:
            machine: where it ran.
            say: called with the reason if something could not be removed.
        """
        if isinstance(machine, Cluster):
            machine.run_on_each_node(_remove_here, self.study, seconds=REMOVE_SECONDS)
        if self.storage:
            problem = _problem(lambda: remove(str(self.storage), self.study))
            if problem:
                say(problem)

    def _prune(self, job: Mapping[str, Any]) -> None:
        """Remove the checkpoints of other trials. Those of a higher number may have begun after this one."""

        def spared(name: str) -> bool:
            number = name.split("-")[0]
            return not number.isdigit() or int(number) >= job["number"] or int(number) in job["kept"]

        if self.on_node:
            prune(str(_node_root()), self.study, spared)
        if self.storage:
            prune(self.storage, self.study, spared)


def _remove_here(study: str) -> None:
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
    return hashlib.sha256(canonical_json(value)).hexdigest()[:12]
