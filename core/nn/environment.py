"""What the bits of a training depend on beside torch: this package's own code, and the processor's model."""

import contextlib
import functools
import hashlib
import platform
from pathlib import Path


@functools.cache
def code_digest() -> str:
    """Return 16 hex digits of the SHA-256 of the training code: core/nn, core/training and core/data/corpus.py.

    Any edit of these files changes it, also one of a comment.
    """
    core = Path(__file__).parent.parent
    total = hashlib.sha256()
    for file in sorted([*core.glob("nn/**/*.py"), *core.glob("training/**/*.py"), core / "data" / "corpus.py"]):
        content = file.read_bytes()
        total.update(f"{file.relative_to(core).as_posix()} {len(content)}\n".encode() + content)
    return total.hexdigest()[:16]


def processor() -> str:
    """The CPU's model as the system names it; its architecture where it names none."""
    return about_processor("model name") or platform.processor() or platform.machine()


@functools.cache
def about_processor(what: str) -> str:
    """What Linux says of the first processor under a name such as `flags`; empty where it says nothing."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == what:
                return value.strip()
    return ""
