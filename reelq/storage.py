"""The storage for files of the REST service, inputs and results: each content is stored once.

It is a folder that all machines share. Only this module builds paths in it, so that an object store could replace it. A
content exists under its SHA-256 completely or not at all: it is written to a temporary file, then moved in one step.
"""

import errno
import hashlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from reelq.errors import CannotWrite
from reelq.settings import Settings

PREFIX: Final = "sha256:"
"""The public name of a content is `sha256:` and its hash."""
GRACE_SECONDS: Final = 86_400.0
"""Contents newer than this are not swept, since the database may not refer to them yet."""
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_TEMPORARY_FOLDER: Final = "incoming"
_DROPPED: Final = ".dropped"
_OWNER_FILE: Final = "database"
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Stored:
    """A content in storage."""

    sha256: str
    size: int


class Incoming:
    """A content that is being received. It is not visible before `keep`, and is deleted if it is not kept."""

    def __init__(self, storage: "Storage", path: Path, file: BinaryIO) -> None:
        self.path = path
        self.size = 0
        self._storage = storage
        self._file = file
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of the bytes written so far."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        with _disk_errors():
            self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def end(self) -> None:
        """Finish writing: the content can now be read at `path`."""
        with _disk_errors():
            self._file.close()

    def keep(self) -> Stored:
        """Move the content to its place. From now on it survives a crash of the machine."""
        self.end()
        return self._storage.adopt(self.path, self.sha256)


class Storage:
    """The contents in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, settings: Settings) -> "Storage":
        """The storage of a deployment."""
        return cls(settings.reelq_data_dir / "storage")

    @property
    def is_there(self) -> bool:
        """Whether the folder exists, so whether anything has ever been stored."""
        return self._folder.is_dir()

    def put(self, chunks: Iterable[bytes]) -> Stored:
        """Store a content that arrives in chunks."""
        with self.receive() as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            return incoming.keep()

    @contextmanager
    def receive(self) -> Iterator[Incoming]:
        """Receive a content; it is deleted at the end of the block unless it has been kept."""
        path = self._subfolder(_TEMPORARY_FOLDER) / uuid.uuid4().hex
        with _disk_errors():
            file = path.open("xb")  # does not follow links
        try:
            yield Incoming(self, path, file)
        finally:
            with suppress(OSError):  # closing flushes the buffer, and the disk may be full
                file.close()
            path.unlink(missing_ok=True)

    def open(self, sha256: str) -> BinaryIO:
        """Open a content for reading. Raises FileNotFoundError if it is not in storage."""
        path = self.path(sha256)
        try:
            return os.fdopen(os.open(path, _READ_FLAGS), "rb")
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _missing(sha256) from None
            raise

    def stat(self, sha256: str) -> Stored | None:
        """The hash and size of a content; None if it is not in storage."""
        try:
            status = self.path(sha256).lstat()
        except FileNotFoundError:
            return None
        return Stored(sha256, status.st_size) if stat.S_ISREG(status.st_mode) else None

    def path(self, sha256: str) -> Path:
        """The path of a content, for callers that need a file. Raises FileNotFoundError if it is not in storage.

        Neither the content nor its folder may be a link: it could lead to any file of this machine.
        """
        path = self._unchecked_path(sha256)
        if path.parent.is_symlink() or path.is_symlink() or not path.is_file():
            raise _missing(sha256)
        return path

    def scratch(self, name: str, run: int) -> Path:
        """A temporary file in which a content is collected over several attempts, on any machine.

        A later run continues with a copy of an earlier run's file: that run's worker may still be writing to the file.
        """
        folder = self._subfolder(_TEMPORARY_FOLDER)
        path = folder / f"{name}.{run}.part"
        with _disk_errors():
            for earlier in () if path.exists() else sorted(folder.glob(f"{name}.*.part")):
                shutil.copyfile(earlier, path)
                earlier.unlink(missing_ok=True)
        return path

    def adopt(self, part: Path, sha256: str) -> Stored:
        """Move a complete temporary file to its place, replacing an equal content."""
        place = self._unchecked_path(sha256)
        with _disk_errors():
            self._subfolder(place.parent.name)
            _flush_to_disk(part)
            os.utime(part)
            size = part.stat().st_size
            os.replace(part, place)  # noqa: PTH105 - named for what it is: atomic
            part.unlink(missing_ok=True)  # still exists if both were the same file already
            _flush_to_disk(place.parent)
        return Stored(sha256, size)

    def kept_before(self, moment: float) -> Iterator[str]:
        """The contents that were last stored before this time."""
        for folder in sorted(self._folder.glob("[0-9a-f][0-9a-f]")):
            if folder.is_symlink():
                continue
            for path in folder.iterdir():
                if _HASH.fullmatch(path.name) and _is_older(path, moment):
                    yield path.name

    def discard(self, sha256: str, before: float) -> bool:
        """Delete a content unless it has been stored again since then; returns whether it was deleted."""
        place = self._unchecked_path(sha256)
        dropped = self._subfolder(_TEMPORARY_FOLDER) / f"{sha256}{_DROPPED}"
        if not _is_older(place, before):
            return False
        try:
            os.replace(place, dropped)  # noqa: PTH105
        except FileNotFoundError:
            return False
        return self._delete_temporary(dropped, before)

    def sweep(self, before: float) -> int:
        """Delete temporary files that killed processes left behind; returns their number."""
        leftovers = list(self._subfolder(_TEMPORARY_FOLDER).iterdir())
        return sum(self._delete_temporary(path, before) for path in leftovers)

    def is_of(self, database: str) -> bool:
        """Whether the storage belongs to this database. The first database that asks becomes its owner.

        To any other database, all contents would look unreferenced.
        """
        path = self._subfolder("") / _OWNER_FILE
        if not path.exists() or not path.stat().st_size:
            path.write_text(database, encoding="utf-8")
        return path.read_text(encoding="utf-8") == database

    def _delete_temporary(self, path: Path, before: float) -> bool:
        """Delete a temporary file. A content that was stored again while it was being deleted is moved back."""
        if _is_older(path, before):
            path.unlink(missing_ok=True)
            return True
        if path.suffix == _DROPPED:
            with suppress(FileNotFoundError):
                os.replace(path, self._unchecked_path(path.stem))  # noqa: PTH105
        return False

    def _unchecked_path(self, sha256: str) -> Path:
        if not _HASH.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is not a SHA-256")
        return self._folder / sha256[:2] / sha256

    def _subfolder(self, name: str) -> Path:
        """A subfolder, created if it is missing. It must not be a link, which could lead out of the storage."""
        folder = self._folder / name
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _flush_to_disk(folder.parent)
        if name and folder.is_symlink():
            raise CannotWrite(f"The storage folder {name} is a symbolic link, which is not allowed")
        return folder


def hash_of(name: str) -> str:
    """The hash in a name such as `sha256:…`; empty if it is not a content's name."""
    sha256 = name.removeprefix(PREFIX)
    return sha256 if name.startswith(PREFIX) and _HASH.fullmatch(sha256) else ""


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn the OSError of a full disk into CannotWrite. Other errors are faults of the installation and pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        advice = "Nothing was stored. Ask the operator of this service to free space, then send it again."
        raise CannotWrite("The storage is full", advice) from None


def _flush_to_disk(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk, so that it survives a power failure."""
    if path.is_dir() and os.name == "nt":
        return  # Windows can't open folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_older(path: Path, moment: float) -> bool:
    try:
        return path.lstat().st_mtime < moment
    except FileNotFoundError:
        return False


def _missing(sha256: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "it is not in the storage", PREFIX + sha256)
