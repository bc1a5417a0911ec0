"""Checkpoints of trials outside the study's folder: on the nodes of a cluster, and in a shared storage.

The nodes of a cluster do not share a folder. A trial writes its checkpoints into its node's temporary folder. With
`--storage` it also copies each checkpoint to the storage, and downloads the latest one if it continues on another node.
Storage errors are reported and do not stop the trial.

The name of a trial's folder contains its number and a digest of everything that its results depend on. The name of the
study's folder contains its name and a digest of its spec. A checkpoint with the right name can therefore be used.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from core.data.corpus import Corpus
from core.errors import CorruptionError, UserError
from core.io.atomic import atomic_folder
from core.io.checked_folder import CHECKSUMS, canonical_json
from core.training.checkpoint import FILES, checkpoint_names, is_intact, load
from tuning.backend.cluster import Cluster
from tuning.backend.local_ray import root_cause
from tuning.backend.storage import delete, errors_as_user_errors, make_folder, node_root, open_storage, prune, remove
from tuning.journal.probabilities import trial_name
from tuning.resources.machine import Machine, TrialResources

REMOVE_SECONDS = 120
"""Time in seconds after which a node that has not removed its checkpoints keeps them."""


@dataclass(frozen=True)
class RemoteCheckpoints:
    """A trial's folder in the storage, and the folder on the node that trains the trial.

    Both methods raise UserError if the storage does not answer, is full, or denies access.
    """

    where: str
    """The storage, in the form of `open_storage`."""
    key: str
    """Path of the trial's folder in the storage, with slashes."""
    local: Path
    """The trial's folder on this node."""

    def download_latest(self) -> None:
        """Download the newest complete checkpoint, unless the node has one that is as new."""
        with errors_as_user_errors(self.where):
            newest_here = next((name for name in checkpoint_names(self.local) if is_intact(self.local / name)), "")
            for name in sorted(self._stored, reverse=True):
                if name <= newest_here or self._download(name):
                    return
                self._stored.discard(name)  # damaged; uploaded again after its epoch

    def upload_new(self) -> None:
        """Upload the node's checkpoints, and remove from the storage those that the node has removed.

        Later ones stay: the node lacks them if their download failed.
        """
        with errors_as_user_errors(self.where):
            here = set(checkpoint_names(self.local))
            for name in sorted(here - self._stored):
                self._upload(name)
                self._stored.add(name)
            for old in sorted(name for name in self._stored - here if name < max(here, default="")):
                delete(self._system, old)
                self._stored.discard(old)

    @cached_property
    def _system(self) -> Any:
        return open_storage(self.where, self.key)

    @cached_property
    def _stored(self) -> set[str]:
        """Names of the complete checkpoints in the storage."""
        from pyarrow.fs import FileSelector

        found = self._system.get_file_info(FileSelector("", recursive=True, allow_not_found=True))
        return {PurePosixPath(file.path).parent.name for file in found if file.base_name == CHECKSUMS}

    def _download(self, name: str) -> bool:
        """Download a checkpoint; return whether it was complete."""
        from pyarrow.fs import LocalFileSystem, copy_files

        try:
            with atomic_folder(self.local / name) as work:
                copy_files(name, str(work), self._system, LocalFileSystem())
                load(work)
        except (CorruptionError, FileNotFoundError):
            return False
        return True

    def _upload(self, name: str) -> None:
        from pyarrow.fs import LocalFileSystem, copy_files

        make_folder(self._system, name)
        for part in (*FILES, CHECKSUMS):  # the checksums last
            # Without threads: with them pyarrow can hang on uploads (its issue 32372).
            copy_files(
                str(self.local / name / part), f"{name}/{part}", LocalFileSystem(), self._system, use_threads=False
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointStore:
    """Folders of the checkpoints of a study's trials."""

    study: str
    """The study's folder on nodes and in the storage, from tuning.scheduling.study_config.study_id."""
    on_node: bool
    """Whether checkpoints are in the node's temporary folder; otherwise they are in the study's folder."""
    storage: str | None
    """Second place: a path or a URI (tuning.backend.storage); None for none."""

    def run_trial(self, job: Mapping[str, Any], corpus: Corpus, resources: TrialResources) -> None:
        """Call `tuning.backend.worker.run_trial` with its checkpoints in this store.

        `job` also contains `kept`: the numbers of the trials whose checkpoints were kept when this job started, in one
        text with spaces.
        """
        from tuning.backend.worker import run_trial  # torch, which the driver does not load

        digest = hashlib.sha256(canonical_json([job["config"], corpus.fingerprint])).hexdigest()
        key = f"{trial_name(job['number'])}-{digest[:12]}"
        folder = node_root() / self.study / key if self.on_node else Path(job["checkpoint_dir"])
        mirror = RemoteCheckpoints(self.storage, f"{self.study}/{key}", folder) if self.storage else None
        download = mirror.download_latest if mirror else None
        problems = [_problem(lambda: self._prune(job)), _problem(download) and _problem(download)]  # a second attempt

        def saved() -> dict[str, str]:
            problems.append(_problem(mirror.upload_new if mirror else None))
            problem = next(filter(None, problems), "")
            problems.clear()
            return {"storage_problem": problem} if problem else {}

        run_trial({**job, "checkpoint_dir": str(folder)}, corpus, resources, saved)

    def remove_all(self, machine: Machine | Cluster, say: Callable[[str], None]) -> None:
        """Remove all checkpoints of a study that has ended.

        Args:
            machine: Machine or cluster that trained the study.
            say: Called with the reason if a checkpoint could not be removed.
        """
        if isinstance(machine, Cluster):
            present = machine.with_present_nodes()
            results = present.run_on_each_node(_remove_here, self.study, seconds=REMOVE_SECONDS)
            for node, result in zip(present.nodes, results, strict=True):
                if isinstance(result, Exception):
                    say(f"the study has ended, but its checkpoints on {node.address} remain: {root_cause(result)}")
        if self.storage:
            problem = _problem(lambda: remove(str(self.storage), self.study))
            if problem:
                say(f"the study has ended, but its checkpoints were not removed: {problem}")

    def _prune(self, job: Mapping[str, Any]) -> None:
        """Remove the checkpoints of other trials; trials with a higher number may have started after this one.

        So may a trial that is continued without kept checkpoints. Its folder has changed recently.
        """
        kept = {int(number) for number in job["kept"].split()}

        def spared(name: str) -> bool:
            number = name.split("-")[0]
            return not number.isdigit() or int(number) >= job["number"] or int(number) in kept

        if self.on_node:
            prune(str(node_root()), self.study, spared)
        if self.storage:
            prune(self.storage, self.study, spared)


def _remove_here(study: str) -> None:
    remove(str(node_root()), study)


def _problem(action: Callable[[], None] | None) -> str:
    try:
        if action:
            action()
    except UserError as error:
        return str(error)
    return ""
