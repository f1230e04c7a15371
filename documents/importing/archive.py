"""The files in a ZIP archive that nobody has reason to trust."""

import io
import stat
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Final

from documents.services import UploadRefused
from ragsite.api.uploads import upload_limit

MOST_FILES: Final = 10_000
DIRECTORY_BYTES: Final = 16 << 20
"""What an archive's list of its files may take: zipfile reads it at once, and it may claim any size."""
MOST_UPLOADS: Final = 10
"""An archive may unpack to so many times what one upload may have."""
HIGHEST_RATIO: Final = 250
RATIO_FROM: Final = 1 << 20
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800
_CLUTTER: Final = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
DAMAGED: Final = (zipfile.BadZipFile, OverflowError, ValueError, EOFError, KeyError, IndexError)
"""What zipfile raises for archives that are not as they should be, apart from what its decompressors raise."""


class _BoundedReads(io.BufferedIOBase):
    """A file of which nobody takes very much at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1) -> bytes:
        wanted = DIRECTORY_BYTES + 1 if size is None or size < 0 else size
        data = self._file.read(min(wanted, DIRECTORY_BYTES + 1))
        if len(data) > DIRECTORY_BYTES:
            raise UploadRefused("too_large", "The archive's list of files is too long.")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._file.seek(offset, whence)
        return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


@dataclass(frozen=True)
class Member:
    """A file in the archive: its name is for people and never a path."""

    info: zipfile.ZipInfo
    name: str

    @property
    def folder(self) -> str:
        """The folders that it lies in, as the name of a collection."""
        parts = [part for part in PurePosixPath(self.name).parts[:-1] if part not in {"/", ".", ".."}]
        return "/".join(parts)[:200].strip()

    @property
    def is_left_out(self) -> bool:
        """Hidden files, links, and what systems leave beside documents."""
        parts = PurePosixPath(self.name.lower()).parts
        hidden = any(part in _CLUTTER or (part.startswith(".") and part not in {".", ".."}) for part in parts)
        return hidden or stat.S_ISLNK(self.info.external_attr >> 16)

    def refuse(self) -> None:
        """Raise UploadRefused for what is not to be unpacked."""
        info = self.info
        if info.flag_bits & _ENCRYPTED:
            raise UploadRefused("encrypted", "It is protected by a password. Remove the password and import it again.")
        if info.file_size > upload_limit():
            raise UploadRefused("too_large", f"It is larger than {upload_limit() >> 20} MB.")
        if info.file_size > max(RATIO_FROM, HIGHEST_RATIO * info.compress_size):
            raise UploadRefused("too_large", "It unpacks to far more than it looks like.")


def open_archive(file: Any) -> zipfile.ZipFile:
    """The archive. Raises UploadRefused for one that is damaged, or holds too much."""
    try:
        archive = zipfile.ZipFile(_BoundedReads(file))
    except DAMAGED as error:
        raise UploadRefused("broken", "The archive is damaged, or no ZIP archive at all.") from error
    files = [info for info in archive.infolist() if not info.is_dir()]
    if len(files) > MOST_FILES:
        raise UploadRefused("too_large", f"The archive holds more than {MOST_FILES:,} files.")
    most = MOST_UPLOADS * upload_limit()
    if sum(info.file_size for info in files) > most:
        raise UploadRefused("too_large", f"The archive unpacks to more than {most >> 20:,} MB.")
    return archive


def members_of(archive: zipfile.ZipFile) -> list[Member]:
    """Its files, in its order."""
    return [Member(info, _name(info)) for info in archive.infolist() if not info.is_dir()]


def _name(info: zipfile.ZipInfo) -> str:
    """The name, with slashes; programs that write UTF-8 without saying so are many."""
    name = info.filename
    if not info.flag_bits & _UTF8:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    shown = "".join(" " if unicodedata.category(char).startswith("C") else char for char in name.replace("\\", "/"))
    return shown.strip()[-1000:] or "unnamed"
