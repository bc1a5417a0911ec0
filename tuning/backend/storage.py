"""A place for files that every machine reaches: a shared folder or an object store, named by a path or a URI.

The stores are pyarrow's, as Ray's own. Each function raises ConfigError if the name is neither a path nor the URI of a
store that pyarrow knows, and UserError if the store does not answer or its rights do not suffice.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.errors import ConfigError, UserError
from core.io.text import error_summary, redact_uris

URI_SCHEMES = "give a folder, file:///FOLDER, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"


def open_storage(where: str, folder: str = "") -> Any:
    """Return a pyarrow file system whose root is a folder of the storage; the folder need not exist."""
    from pyarrow.fs import FileSystem, LocalFileSystem, SubTreeFileSystem

    try:
        system, path = (
            FileSystem.from_uri(where) if "://" in where else (LocalFileSystem(), str(Path(where).absolute()))
        )
    except OSError:
        raise
    except Exception as error:  # pyarrow has a class of its own for each mistake
        raise ConfigError(f"--storage {redact_uris(f'{where}: {error_summary(error)}')}; {URI_SCHEMES}") from error
    path = path.rstrip("/")
    if not path:
        raise ConfigError(f"--storage {redact_uris(where)}: it names no folder or bucket; {URI_SCHEMES}")
    return SubTreeFileSystem(f"{path}/{folder}".rstrip("/"), system)


@contextlib.contextmanager
def marker_file(where: str) -> Iterator[str]:
    """Leave a small file in the storage while the block runs; yield its name."""
    mark = f".sentune-{uuid.uuid4().hex}"
    with errors_as_user_errors(where):
        system = open_storage(where)
        make_folder(system)
        with system.open_output_stream(mark) as file:
            file.write(mark.encode())
    try:
        yield mark
    finally:
        with errors_as_user_errors(where):
            system.delete_file(mark)


def check_storage(where: str, mark: str | None = None) -> None:
    """Write, read and remove a small file in the storage.

    Args:
        where: The storage.
        mark: From `marker_file` on another machine, whose file must be seen from here.
    """
    with marker_file(where) as own, errors_as_user_errors(where):
        system = open_storage(where)
        for name in filter(None, (own, mark)):
            try:
                with system.open_input_stream(name) as file:
                    read_back = file.read().decode()
            except FileNotFoundError:
                read_back = ""
            if read_back != name:
                raise UserError(
                    f"what another machine put into {redact_uris(where)} is not there: give a folder that all share"
                )


def prune(where: str, folder: str, spared: Callable[[str], bool]) -> None:
    """Remove what is in a folder of the storage unless its name is spared."""
    from pyarrow.fs import FileSelector

    with errors_as_user_errors(where):
        system = open_storage(where, folder)
        for found in system.get_file_info(FileSelector("", allow_not_found=True)):
            if not spared(found.base_name):
                delete(system, found.path)


def remove(where: str, folder: str) -> None:
    """Remove a folder of the storage; it need not exist."""
    with errors_as_user_errors(where):
        delete(open_storage(where), folder)


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


def make_folder(system: Any, path: str = "") -> None:
    """Make a folder if the store has folders; in an object store, each mark that stands for one costs a request."""
    if system.base_fs.type_name == "local":
        system.base_fs.create_dir(f"{system.base_path}{path}")
