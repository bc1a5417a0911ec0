"""core.io.system_errors: what the user can fix is one line with what, where and what to do; a bug passes."""

import errno
import os
from pathlib import Path

import pytest

from core.errors import UserError
from core.io.system_errors import system_errors_as_user_errors

LINES: list[tuple[Exception, str]] = [
    (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), r"^'x{300}': the name is too long; choose"),
    (
        OSError(errno.EACCES, "Permission denied", "a\x1b[31m"),
        r"^'a\\x1b\[31m': permission denied; choose another path",
    ),
    (OSError(errno.EROFS, "Read-only file system", b"a"), "^'a': the file system is read-only; choose"),
    (OSError(errno.EIO, "Input/output error"), "^a file: the disk cannot read or write it; check the disk$"),
    (OSError(errno.ENOTCONN, "Transport endpoint is not connected", "a"), "^'a': the network disk has lost it; run"),
    (
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/here']"),
        r"^no folder for temporary files can be written \(\['/tmp', '/here'\]\); free some space, or set TMPDIR$",
    ),
    (OSError(errno.EMFILE, "Too many open files"), "^too many open files; raise the limit with `ulimit -n`$"),
    (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "^this user may start no more processes"),
    (RuntimeError("Could not determine home directory."), "^this user has no home folder; set HOME to a folder that"),
    (RuntimeError("can't start new thread"), "^this user may start no more processes or threads; end some, or raise"),
    (MemoryError(), r"^the memory does not suffice; end .* `ulimit -v` \(MemoryError\)$"),
    (
        ImportError("lib.so: failed to map segment from shared object"),
        r"^the memory does not suffice.*\(lib.so: failed",
    ),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "^the memory does not suffice; end other"),
    (
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity"),
        r"^the GPU's memory does not suffice; end other .* or use smaller settings \(CUDA out of memory\. Tried to",
    ),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), r"^the GPU's memory does not suffice; end other"),
    (
        RuntimeError('NVML_SUCCESS == r INTERNAL ASSERT FAILED at "c10/cuda/CUDACachingAllocator.cpp":1154, please'),
        r"^the GPU's memory does not suffice; end other .* \(NVML_SUCCESS == r",
    ),
    (
        RuntimeError("cuDNN version 91100 is not compatible with devices with SM < 7.5. Please install a version of"),
        r"^the GPU cannot be used \(cuDNN version 91100 is not compatible .*\); check its driver and torch's build",
    ),
    (
        RuntimeError("CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might"),
        r"^the GPU cannot be used \(CUDA error: no kernel image is available .*\); check its driver and torch's build",
    ),
    (
        RuntimeError(
            "Deterministic behavior was enabled, but this operation uses CuBLAS.\nYou must set the variable "
            "CUBLAS_WORKSPACE_CONFIG=:4096:8 or CUBLAS_WORKSPACE_CONFIG=:16:8."
        ),
        "^cuBLAS is not deterministic in this process; set CUBLAS_WORKSPACE_CONFIG=:4096:8 before Python starts$",
    ),
    (ValueError("embedded null byte"), "^a path has a character that no file name can have; give another path$"),
    (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "^a path has a character that no file"),
]


@pytest.mark.parametrize(("error", "message"), LINES, ids=lambda each: type(each).__name__)
def test_an_error_of_the_system_is_one_line(error: Exception, message: str) -> None:
    with pytest.raises(UserError, match=message) as found, system_errors_as_user_errors():
        raise error
    assert "\n" not in str(found.value)
    assert found.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wrong"),
        RuntimeError("wrong"),
        ImportError("no module named x"),
        FileNotFoundError(errno.ENOENT, "No such file", "inner"),
        OSError(errno.EACCES, "Permission denied"),
        TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
        KeyError("x"),
    ],
    ids=repr,
)
def test_what_may_be_a_bug_passes(error: Exception) -> None:
    with pytest.raises(type(error)) as found, system_errors_as_user_errors():
        raise error
    assert found.value is error


def test_a_working_folder_that_was_removed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    message = "^the working folder has been removed; change to another folder, and run the command again$"
    with pytest.raises(UserError, match=message), system_errors_as_user_errors():
        Path("results").absolute()


def test_the_number_of_a_file_is_no_name() -> None:
    with pytest.raises(UserError, match=r"^'file 1': permission denied"), system_errors_as_user_errors():
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), 1)
