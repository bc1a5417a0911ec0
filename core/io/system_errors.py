"""Errors of the operating system as UserError: what the user can fix is one line, wherever it happens."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from core.errors import UserError
from core.io.atomic import PATH_REASONS
from core.io.text import error_summary, quoted

_THREADS = "this user may start no more processes or threads; end some, or raise the limit with `ulimit -u`"
_MEMORY = "the memory does not suffice; end other programs, use smaller data or settings, or raise `ulimit -v`"
_GPU_MEMORY = "the GPU's memory does not suffice; end other programs that use the GPU, or use smaller settings"
_GPU_FAILED = "the GPU cannot be used ({}); check its driver and torch's build for CUDA, or train on the CPU"
_CUBLAS = "cuBLAS is not deterministic in this process; set CUBLAS_WORKSPACE_CONFIG=:4096:8 before Python starts"
_CHOOSE = "choose another path, or change its permissions"
_REASONS = {
    **PATH_REASONS,
    **dict.fromkeys((errno.EACCES, errno.EPERM), f"permission denied; {_CHOOSE}"),
    errno.EROFS: f"the file system is read-only; {_CHOOSE}",
    errno.EISDIR: "is a folder, a file is needed; choose another path",
    errno.EIO: "the disk cannot read or write it; check the disk",
    **dict.fromkeys(
        (errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT), "the network disk has lost it; run the same command again"
    ),
}
"""Those that concern a file."""
_OPEN_FILE = (errno.EDQUOT, errno.EIO, errno.ESTALE)
"""Errors of reading and writing, which do not name the file."""
_LIMITS = {
    errno.EMFILE: "too many open files; raise the limit with `ulimit -n`",
    errno.ENFILE: "all programs together have too many open files; end some",
    errno.EAGAIN: _THREADS,
    errno.ENOMEM: _MEMORY,
}
"""Those that concern the process."""
_NO_HOME = "this user has no home folder; set HOME to a folder that you may write to"
CANNOT_TRAIN = "a worker cannot train ({}); repair the machine or the installation, and run the same command again"
NO_NVML = "NVML_SUCCESS == .*CUDACachingAllocator"
"""What torch says of a lack of GPU memory if NVML does not answer, as on MIG instances."""
_OUT_OF_MEMORY = re.compile(
    r"(?i)(can.?t|cannot|unable to|failed to) (allocate|map segment)|not enough memory|out of memory|"
    rf"_ALLOC(ATION)?_FAILED|{NO_NVML}"
)
"""What libraries say in RuntimeError, ImportError and OSError."""
_GPU = re.compile("CUDA|CUDNN|CUBLAS|HIP")
"""Names of which one is in such a message about a GPU."""
GPU_ERROR = re.compile(r"(CUDA|HIP|cuDNN|MIOpen) (driver )?error")
"""What torch says of a GPU that fails or cannot be used."""


@contextlib.contextmanager
def system_errors_as_user_errors() -> Iterator[None]:
    """Raise a UserError of one line for an error that names a file, or a limit of the process, that the user can fix.

    Other errors pass. Use `os_errors_as_user_errors` where the file is known.
    """
    try:
        yield
    except (OSError, MemoryError, RuntimeError, ImportError, ValueError) as error:
        message = system_problem(error)
        if message is None:
            raise
        raise UserError(message) from error


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that there is too little memory."""
    return isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None


def system_problem(error: Exception) -> str | None:
    """Return one line for the user, or None if the error may be a bug."""
    if is_out_of_memory(error):
        return f"{_GPU_MEMORY if _GPU.search(str(error)) else _MEMORY} ({error_summary(error, 100)})"
    if isinstance(error, RuntimeError):
        if "CUBLAS_WORKSPACE_CONFIG" in str(error):  # torch read it before deterministic_kernels set it
            return _CUBLAS
        if GPU_ERROR.search(str(error)) or "cuDNN version" in str(error):  # it does not fit the GPU, or torch
            return _GPU_FAILED.format(error_summary(error, 100))
        if "home directory" in str(error):  # pathlib and platformdirs: neither HOME nor an entry of the user
            return _NO_HOME
        return _THREADS if "can't start new thread" in str(error) else None
    if isinstance(error, ValueError):
        impossible = "embedded null" in str(error) or "surrogates not allowed" in str(error)
        return "a path has a character that no file name can have; give another path" if impossible else None
    if isinstance(error, OSError):
        if error.errno in _LIMITS:
            return _LIMITS[error.errno]
        if error.errno in _REASONS and error.filename is not None:
            file = f"file {error.filename}" if isinstance(error.filename, int) else os.fsdecode(error.filename)
            return f"{quoted(file, None)}: {_REASONS[error.errno]}"
        if error.errno == errno.ENOENT and error.filename is None and _is_in_no_folder():
            return "the working folder has been removed; change to another folder, and run the command again"
        if error.errno in _OPEN_FILE:
            return f"a file: {_REASONS[error.errno]}"
        if no_folder := re.search(r"No usable temporary directory found in (\[.*\])", str(error)):
            return f"no folder for temporary files can be written ({no_folder[1]}); free some space, or set TMPDIR"
    return None


def machine_problem(error: Exception) -> str:
    """Return one line for an error of a worker that no settings cause, such as a package that cannot be imported."""
    if isinstance(error, UserError):
        return str(error)
    return system_problem(error) or CANNOT_TRAIN.format(f"{type(error).__name__}: {error_summary(error)}")


def _is_in_no_folder() -> bool:
    """Return whether the working folder of this process has been removed."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False
