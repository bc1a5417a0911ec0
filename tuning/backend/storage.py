"""A place for files that every machine reaches: a shared folder or an object store, named by a path or a URI.

The stores are pyarrow's, as Ray's own. What they refuse becomes one clear line.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from core.errors import ConfigError, UserError
from core.io.atomic import expand_user
from core.io.text import error_summary, redact_uris

URI_SCHEMES = "give a folder, file:///FOLDER, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"


def absolute_uri(where: str) -> str:
    """A folder's path made absolute; a URI as it is."""
    return where if "://" in where else str(expand_user(where).absolute())


def open_filesystem(where: str) -> tuple[Any, str]:
    """The pyarrow file system of a path or URI, and the path in it.

    Raises:
        ConfigError: it is neither a path nor a URI of a store that pyarrow knows.
    """
    from pyarrow.fs import FileSystem, LocalFileSystem

    if "://" not in where:
        return LocalFileSystem(), absolute_uri(where)
    try:
        system, path = FileSystem.from_uri(where)
    except OSError:
        raise
    except Exception as error:  # pyarrow has a class of its own for each mistake
        raise ConfigError(f"--storage {redact_uris(f'{where}: {error_summary(error)}')}; {URI_SCHEMES}") from error
    path = path.rstrip("/")
    if not path:
        raise ConfigError(f"--storage {redact_uris(where)}: it names no folder or bucket; {URI_SCHEMES}")
    return system, path


@contextlib.contextmanager
def marker_file(where: str) -> Iterator[str]:
    """Leave a small file in the storage while the block runs: its name there.

    Raises:
        ConfigError: it is neither a path nor a URI of a store that pyarrow knows.
        UserError: the place is not there, or its rights do not suffice.
    """
    mark = f".sentune-{uuid.uuid4().hex}"
    with errors_as_user_errors(where):
        system, root = open_filesystem(where)
        make_folder(system, root)
        with system.open_output_stream(f"{root}/{mark}") as file:
            file.write(mark.encode())
    try:
        yield mark
    finally:
        with errors_as_user_errors(where):
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
    with marker_file(where) as own, errors_as_user_errors(where):
        system, root = open_filesystem(where)
        for name in filter(None, (own, mark)):
            try:
                with system.open_input_stream(f"{root}/{name}") as file:
                    read_back = file.read().decode()
            except FileNotFoundError:
                read_back = ""
            if read_back != name:
                raise UserError(
                    f"what another machine put into {redact_uris(where)} is not there: give a folder that all share"
                )


def prune(where: str, folder: str, spared: Callable[[str], bool]) -> None:
    """Remove what is in a folder of the storage unless its name is spared; the folder need not exist.

    Raises:
        UserError: the storage does not answer, or its rights do not suffice.
    """
    from pyarrow.fs import FileSelector

    with errors_as_user_errors(where):
        system, root = open_filesystem(where)
        for found in system.get_file_info(FileSelector(f"{root}/{folder}", allow_not_found=True)):
            if not spared(found.base_name):
                delete(system, found.path)


def remove(where: str, folder: str) -> None:
    """Remove a folder of the storage; it need not exist.

    Raises:
        UserError: the storage does not answer, or its rights do not suffice.
    """
    with errors_as_user_errors(where):
        system, root = open_filesystem(where)
        delete(system, f"{root}/{folder}")


@contextlib.contextmanager
def errors_as_user_errors(where: str) -> Iterator[None]:
    """Turn what a storage refuses into one clear line."""
    from pyarrow import ArrowException

    try:
        yield
    except (OSError, ArrowException) as error:
        raise UserError(
            f"cannot keep checkpoints in {redact_uris(f'{where} ({error_summary(error)})')}: give another --storage, "
            "or the rights to read, write and delete there"
        ) from error


def delete(system: Any, path: str) -> None:
    """Remove a folder; it need not exist."""
    with contextlib.suppress(FileNotFoundError):  # another worker was faster
        system.delete_dir(path)


def make_folder(system: Any, path: str) -> None:
    """Where the store has folders."""
    if system.type_name == "local":  # an object store has no folders; marks that stand for them cost a request each
        system.create_dir(path)
