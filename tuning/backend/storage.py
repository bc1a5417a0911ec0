"""A storage that every machine reaches: a shared folder or an object store, given by a path or a URI.

The stores are pyarrow's, as in Ray. Each function raises ConfigError if the name is neither a path nor the URI of a
store that pyarrow knows. It raises UserError if the store does not answer or denies access. Only `open_storage`,
`delete` and `make_folder` pass on the store's OSError: call them within `errors_as_user_errors`.
"""

import contextlib
import os
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import ConfigError, UserError
from core.io.atomic import os_errors_as_user_errors
from core.io.text import error_summary, redact_uris

RECENT_SECONDS = 600
"""Age in seconds up to which `prune` keeps an entry: workers start late, and the clocks of machines differ."""
GOOGLE_LIMIT = "retry_limit_seconds=30"
"""Option of Google's store: without it, pyarrow repeats a failed request for 15 minutes, also without valid keys."""
URI_SCHEMES = "pass a folder, file:///FOLDER, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"


def open_storage(where: str, folder: str = "") -> Any:
    """Return a pyarrow file system whose root is a folder of the storage; the folder need not exist."""
    from pyarrow.fs import FileSystem, LocalFileSystem, SubTreeFileSystem

    uri = where
    if where.startswith(("gs://", "gcs://")) and "retry_limit_seconds=" not in where:
        uri += f"{'&' if '?' in where else '?'}{GOOGLE_LIMIT}"
    try:
        system, path = FileSystem.from_uri(uri) if "://" in uri else (LocalFileSystem(), str(Path(where).absolute()))
    except OSError:
        raise
    except Exception as error:  # pyarrow raises many classes
        raise ConfigError(f"--storage {redact_uris(f'{where}: {error_summary(error)}')}; {URI_SCHEMES}") from error
    path = path.rstrip("/")
    if "\0" in path:  # pyarrow would abort the process
        raise ConfigError(f"--storage {redact_uris(repr(where))}: it holds a NUL character; {URI_SCHEMES}")
    if not path:
        raise ConfigError(f"--storage {redact_uris(where)}: it names no folder or bucket; {URI_SCHEMES}")
    return SubTreeFileSystem(f"{path}/{folder}".rstrip("/"), system)


def node_root() -> Path:
    """Return the folder of this user's checkpoints on this node; it is created.

    Raises:
        UserError: Another user could change it.
    """
    root = Path(tempfile.gettempdir()) / f"sentune-{os.getuid()}"
    with os_errors_as_user_errors(root):
        root.mkdir(mode=0o700, exist_ok=True)
    found = root.lstat()
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or writable:
        raise UserError(f"{root} is no folder of this user alone; remove it, or set TMPDIR to another folder")
    return root


@contextlib.contextmanager
def marker_file(where: str) -> Iterator[str]:
    """Keep a small file in the storage while the block runs; yield its name."""
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
        mark: Name of the file of `marker_file` on another machine, which must be visible here.
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
                    f"a file of another machine is not visible in {redact_uris(where)}; pass a folder that all share"
                )


def prune(where: str, folder: str, spared: Callable[[str], bool]) -> None:
    """Remove the entries of a folder of the storage, unless they have just changed or `spared` is true for them."""
    from pyarrow.fs import FileSelector

    with errors_as_user_errors(where):
        system, changed = open_storage(where, folder), dict[str, int]()
        recursive = system.base_fs.type_name == "gcs"  # which lists no folder that only its files imply
        for found in system.get_file_info(FileSelector("", recursive=recursive, allow_not_found=True)):
            name = PurePosixPath(found.path).parts[0]
            if not spared(name):
                changed[name] = max(changed.get(name, 0), found.mtime_ns or 0)  # folders of an object store have none
        for name, last in changed.items():
            inside = system.get_file_info(FileSelector(name, recursive=True, allow_not_found=True))
            if time.time() - max([last, *(each.mtime_ns or 0 for each in inside)]) / 1e9 > RECENT_SECONDS:
                delete(system, name)


def remove(where: str, folder: str) -> None:
    """Remove a folder of the storage; it need not exist."""
    with errors_as_user_errors(where, "no access to", f"run the same command again, or remove {folder} there"):
        delete(open_storage(where), folder)


@contextlib.contextmanager
def errors_as_user_errors(
    where: str,
    what: str = "cannot keep checkpoints in",
    advice: str = "pass another --storage, or fix the permissions to read, write and delete there",
) -> Iterator[None]:
    """Raise an error of a storage as a UserError of one line: `what` precedes the storage, `advice` ends the line."""
    from pyarrow import ArrowException

    try:
        yield
    except (OSError, ArrowException) as error:
        raise UserError(f"{what} {redact_uris(f'{where} ({error_summary(error)})')}; {advice}") from error


def delete(system: Any, path: str) -> None:
    """Remove a folder; it need not exist."""
    try:
        system.delete_dir(path)
    except FileNotFoundError:  # another worker has removed it
        pass
    except OSError as error:
        if "No such directory: " not in str(error):  # of Google's store, whose error has no number
            raise


def make_folder(system: Any, path: str = "") -> None:
    """Make a folder if the store has folders; in an object store, each placeholder would cost a request."""
    if system.base_fs.type_name == "local":
        system.base_fs.create_dir(f"{system.base_path}{path}")
