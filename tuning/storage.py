"""Checkpoints kept beside the node that trains: in a shared folder or an object store, named by a path or a URI.

A trial's folder there holds the checkpoints that its folder on the node holds (core.checkpoint). Of each the checksums
are written last, and no checkpoint counts that lacks them or does not fit them: it is whole or not there, also where
several files cannot be put in place at once, as on S3. The stores are pyarrow's, as Ray's own.
"""

import contextlib
import re
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from core.checkpoint import STATE, SUMS, TENSORS, checkpoint_names, read
from core.errors import ConfigError, CorruptionError, UserError
from core.files import new_folder

KINDS = "give a folder, file:///FOLDER, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"


def absolute(where: str) -> str:
    """A folder's path made absolute; a URI as it is."""
    return where if "://" in where else str(Path(where).expanduser().absolute())


def shown(where: str) -> str:
    """The place without what may be secret in a URI: user, password, and the values of its options."""
    return re.sub(r"\?.*", "", re.sub(r"//[^/@]*@", "//", where))


def open_place(where: str) -> tuple[Any, str]:
    """The pyarrow file system of a path or URI, and the path in it.

    Raises:
        ConfigError: it is neither a path nor a URI of a store that pyarrow knows.
    """
    from pyarrow.fs import FileSystem, LocalFileSystem

    if "://" not in where:
        return LocalFileSystem(), absolute(where)
    try:
        system, path = FileSystem.from_uri(where)
    except OSError:
        raise
    except Exception as error:  # pyarrow has a class of its own for each mistake
        raise ConfigError(f"--storage {shown(where)}: {_reason(error)}; {KINDS}") from error
    path = path.rstrip("/")
    if not path:
        raise ConfigError(f"--storage {shown(where)}: it names no folder or bucket; {KINDS}")
    return system, path


@contextlib.contextmanager
def marked(where: str) -> Iterator[str]:
    """Leave a small file in the storage while the block runs: its name there.

    Raises:
        ConfigError: it is neither a path nor a URI of a store that pyarrow knows.
        UserError: the place is not there, or its rights do not suffice.
    """
    mark = f".sentune-{uuid.uuid4().hex}"
    with readable_errors(where):
        system, root = open_place(where)
        _make_folder(system, root)
        with system.open_output_stream(f"{root}/{mark}") as file:
            file.write(mark.encode())
    try:
        yield mark
    finally:
        with readable_errors(where):
            system.delete_file(f"{root}/{mark}")


def check_storage(where: str, mark: str | None = None) -> None:
    """Write, read and remove a small file there.

    Args:
        where: the storage.
        mark: of another machine, from `marked`, that must be seen from here.

    Raises:
        ConfigError: it is neither a path nor a URI of a store that pyarrow knows.
        UserError: the place is not there, its rights do not suffice, or it is not the place that the mark is in.
    """
    with marked(where) as own, readable_errors(where):
        system, root = open_place(where)
        for name in filter(None, (own, mark)):
            try:
                with system.open_input_stream(f"{root}/{name}") as file:
                    read_back = file.read().decode()
            except FileNotFoundError:
                read_back = ""
            if read_back != name:
                raise UserError(
                    f"what another machine put into {shown(where)} is not there: give a folder that all share"
                )


def keep_only(where: str, folder: str, spared: Callable[[str], bool]) -> None:
    """Remove what is in a folder of the storage unless its name is spared; the folder need not exist.

    Raises:
        UserError: the storage does not answer, or its rights do not suffice.
    """
    from pyarrow.fs import FileSelector

    with readable_errors(where):
        system, root = open_place(where)
        for found in system.get_file_info(FileSelector(f"{root}/{folder}", allow_not_found=True)):
            if not spared(found.base_name):
                _delete(system, found.path)


def remove(where: str, folder: str) -> None:
    """Remove a folder of the storage; it need not exist.

    Raises:
        UserError: the storage does not answer, or its rights do not suffice.
    """
    with readable_errors(where):
        system, root = open_place(where)
        _delete(system, f"{root}/{folder}")


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
                _delete(self._place[0], f"{self._place[1]}/{old}")
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
        _make_folder(system, f"{root}/{name}")
        for part in (TENSORS, STATE, SUMS):  # the checksums last
            # Without threads: with them pyarrow can hang on uploads (its issue 32372).
            copy_files(
                str(self.local / name / part), f"{root}/{name}/{part}", LocalFileSystem(), system, use_threads=False
            )

    @cached_property
    def _place(self) -> tuple[Any, str]:
        system, root = open_place(self.where)
        return system, f"{root}/{self.key}"


@contextlib.contextmanager
def readable_errors(where: str) -> Iterator[None]:
    """Turn what a storage refuses into one clear line."""
    from pyarrow import ArrowException

    try:
        yield
    except (OSError, ArrowException) as error:
        raise UserError(
            f"cannot keep checkpoints in {shown(where)} ({_reason(error)}): give another --storage, or the rights to "
            "read, write and delete there"
        ) from error


def _delete(system: Any, path: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # another worker was faster
        system.delete_dir(path)


def _make_folder(system: Any, path: str) -> None:
    if system.type_name == "local":  # an object store has no folders; marks that stand for them cost a request each
        system.create_dir(path)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 250 else f"{text[:247]}..."
