"""Archives and files of vectors, good and bad, for the tests of their readers."""

import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def tar_gz(members: Mapping[str, bytes] | Sequence[tarfile.TarInfo | tuple[str, bytes]]) -> bytes:
    """A .tar.gz of named contents; a bare TarInfo goes in as it is (a link, a device)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        for member in members.items() if isinstance(members, Mapping) else members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A member that is no file: SYMTYPE, LNKTYPE, CHRTYPE, FIFOTYPE."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def zipped(path: Path, kind: int = zipfile.ZIP_DEFLATED, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in files.items():
            archive.writestr(f"inner/{name}.vec", data)
    return path
