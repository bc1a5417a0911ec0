"""A trial's checkpoints kept in a storage as well: brought there after each epoch, fetched where the trial goes on.

A trial's folder there holds the checkpoints that its folder on the node holds (core.training.checkpoint). Of each the checksums
are written last, and no checkpoint counts that lacks them or does not fit them: it is whole or not there, also where
several files cannot be put in place at once, as on S3.
"""

from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import CorruptionError
from core.io.atomic import new_folder
from core.io.checked_folder import SUMS
from core.training.checkpoint import STATE, TENSORS, checkpoint_names, read
from tuning.backend.storage import delete, make_folder, open_place, readable_errors


class Mirror:
    """A trial's folder in the storage, and its twin on the node that trains."""

    def __init__(self, where: str, key: str, local: Path) -> None:
        """
        Args:
            where: the storage, as `open_place` takes it.
            key: of the trial's folder in it, with slashes.
            local: the trial's folder on this node.
        """
        self.where, self.key, self.local = where, key, local
        self._there: set[str] | None = None  # whole ones in the storage, once we know

    def fetch(self) -> None:
        """Bring the newest whole checkpoint to the node, unless the node has one that is as new.

        Raises:
            UserError: the storage does not answer, or its rights do not suffice.
        """
        with readable_errors(self.where):
            there = self._listed()
            newest_here = max(checkpoint_names(self.local), default="")
            for name in sorted(there, reverse=True):
                if name <= newest_here or self._download(name):
                    return
                there.discard(name)  # damaged; uploaded anew when its epoch is over

    def push(self) -> None:
        """Bring the node's checkpoints to the storage, and remove those there that the node has removed.

        Raises:
            UserError: the storage does not answer, is full, or its rights do not suffice.
        """
        with readable_errors(self.where):
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
            self._there = {PurePosixPath(file.path).parent.name for file in found if file.base_name == SUMS}
        return self._there

    def _download(self, name: str) -> bool:
        """Whether it was whole."""
        from pyarrow.fs import LocalFileSystem, copy_files

        system, root = self._place
        try:
            with new_folder(self.local / name) as work:
                for part in (TENSORS, STATE, SUMS):
                    copy_files(f"{root}/{name}/{part}", str(work / part), system, LocalFileSystem())
                read(work)
        except (CorruptionError, FileNotFoundError):
            return False
        return True

    def _upload(self, name: str) -> None:
        from pyarrow.fs import LocalFileSystem, copy_files

        system, root = self._place
        make_folder(system, f"{root}/{name}")
        for part in (TENSORS, STATE, SUMS):  # the checksums last
            # Without threads: with them pyarrow can hang on uploads (its issue 32372).
            copy_files(
                str(self.local / name / part), f"{root}/{name}/{part}", LocalFileSystem(), system, use_threads=False
            )

    @cached_property
    def _place(self) -> tuple[Any, str]:
        system, root = open_place(self.where)
        return system, f"{root}/{self.key}"
