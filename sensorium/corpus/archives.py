"""Tar (plain, gzip, bzip2, xz) and zip archives as sources, read within budgets, never unpacked.

Names in them are only labels. An archive that is damaged anywhere is left out whole and counted.
"""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from sensorium.corpus.found import Found, too_large
from sensorium.data.errors import DataError

TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".crate", ".gem")
ZIP = (".zip", ".whl", ".jar")
UNFOLDED = 16 << 30  # bytes that an archive may unfold to
MEMBERS = 2_000_000
LONGEST_HEADER = 1 << 20  # bytes of a long name, or of pax records
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError,
           NotImplementedError, ValueError)  # fmt: skip


class _Careful(tarfile.TarInfo):
    """A member whose own header may not take all memory."""

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        special = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
                   tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)  # fmt: skip
        if self.type in special and self.size > LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(tarfile_)  # type: ignore[misc]


def is_archive(path: Path) -> bool:
    """Whether a file's name ends as an archive's."""
    return path.name.lower().endswith(TAR + ZIP)


def name(path: Path) -> str:
    """An archive's name without its ending."""
    low = path.name.lower()
    ending = max((e for e in TAR + ZIP if low.endswith(e)), key=len, default="")
    return path.name[: len(path.name) - len(ending)].removesuffix(".orig")


def walk(path: Path, largest: int, wanted: Callable[[str], bool] | None = None) -> Iterator[Found]:
    """The members of an archive in order; the one folder that holds all is taken off no name.

    With `wanted` only members of those paths are read and found.

    Raises DataError where the archive is damaged, encrypted or unfolds to too much.
    """
    members = _zipped if path.name.lower().endswith(ZIP) else _tarred
    try:
        yield from members(path, largest, wanted)
    except DAMAGED as error:
        raise DataError(f"{path}: cannot be read as an archive: {error}") from error


def _tarred(path: Path, largest: int, wanted: Callable[[str], bool] | None) -> Iterator[Found]:
    total = count = 0
    with tarfile.open(path, "r|*", tarinfo=_Careful, errorlevel=0) as archive:
        for member in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # it keeps all it has seen
            total, count = total + max(0, member.size), count + 1
            if total > UNFOLDED or count > MEMBERS:
                raise DataError(f"unfolds to more than {UNFOLDED} bytes or {MEMBERS} members")
            label = member.name
            if member.isdir():
                continue
            found = Found(label, 0, None, "symbolic link" if member.issym() else "no plain file")
            if member.islnk():
                found = Found(label, 0, None, "hard link")
            elif member.isreg():
                if wanted is not None and not wanted(label):
                    continue
                found = Found(label, member.size, None, too_large(largest))
                if member.size <= largest:
                    file = archive.extractfile(member)
                    data = b"" if file is None else file.read(largest + 1)
                    if len(data) != member.size:
                        raise DataError(f"ends inside {label!r}")
                    found = Found(label, len(data), data)
            if wanted is None or found.data is not None:
                yield found


def _zipped(path: Path, largest: int, wanted: Callable[[str], bool] | None) -> Iterator[Found]:
    total = 0
    with zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > MEMBERS:
            raise DataError(f"has more than {MEMBERS} members")
        for info in archive.infolist():
            label = info.filename
            if info.is_dir():
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                found = Found(label, 0, None, "symbolic link")
            elif info.flag_bits & 1:
                found = Found(label, info.file_size, None, "encrypted")
            elif wanted is not None and not wanted(label):
                continue
            elif info.file_size > largest:
                found = Found(label, info.file_size, None, too_large(largest))
            else:
                try:
                    with archive.open(info) as file:
                        data = file.read(largest + 1)
                except RuntimeError as error:  # an unknown way of packing
                    raise DataError(f"{label!r}: {error}") from error
                total += len(data)
                if total > UNFOLDED:
                    raise DataError(f"unfolds to more than {UNFOLDED} bytes")
                found = Found(label, len(data), data)
                if len(data) > largest:  # its header lied
                    found = Found(label, len(data), None, too_large(largest))
            if wanted is None or found.data is not None:
                yield found
