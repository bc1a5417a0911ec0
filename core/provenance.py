"""What the bits of a training depend on beside torch: this package's own code, and the processor's model."""

import contextlib
import functools
import hashlib
import platform
from pathlib import Path


@functools.cache
def code_digest() -> str:
    """16 hex digits of the sha256 over every source file of this package: any edit changes it, a comment's too."""
    total = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        content = file.read_bytes()
        total.update(f"{file.name} {len(content)}\n".encode() + content)
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
