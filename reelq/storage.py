"""Where the files of those who come over HTTP are kept, each content once: inputs as well as results.

A folder that all machines share. Nothing else builds its paths, so that an object store could take this module's place.
A content is there under its sha256 or not at all: it is gathered aside, and moved to its place in one step.
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
"""How a content is named to people: `sha256:` and the hash."""
LATELY: Final = 86_400.0
"""What was put in so many seconds is not swept: whoever put it may not have written down yet what it is for."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_ASIDE: Final = "incoming"
_DROPPED: Final = ".dropped"
_OF: Final = "database"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Stored:
    """A content that is kept."""

    sha256: str
    size: int


class Incoming:
    """A content on its way in: nobody finds it before `keep`, and nothing is left of one that is not kept."""

    def __init__(self, storage: "Storage", path: Path, file: BinaryIO) -> None:
        self.path = path
        self.size = 0
        self._storage = storage
        self._file = file
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of what has come so far."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Some more of it."""
        with _told():
            self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def end(self) -> None:
        """That was all: what came can be read at `path`."""
        with _told():
            self._file.close()

    def keep(self) -> Stored:
        """It is in its place from now on, whatever happens to this machine."""
        self.end()
        return self._storage.adopt(self.path, self.sha256)


class Storage:
    """The contents below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, settings: Settings) -> "Storage":
        """That of a deployment."""
        return cls(settings.reelq_data_dir / "storage")

    @property
    def is_there(self) -> bool:
        """Whether anything was ever kept."""
        return self._folder.is_dir()

    def put(self, chunks: Iterable[bytes]) -> Stored:
        """Keep what comes, piece by piece."""
        with self.receive() as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            return incoming.keep()

    @contextmanager
    def receive(self) -> Iterator[Incoming]:
        """A content that is to come; unless it is kept by then, it is gone afterwards."""
        path = self._below(_ASIDE) / uuid.uuid4().hex
        with _told():
            file = path.open("xb")  # which follows no link
        try:
            yield Incoming(self, path, file)
        finally:
            with suppress(OSError):  # closing writes what is left, and there may be no room for it
                file.close()
            path.unlink(missing_ok=True)

    def open(self, sha256: str) -> BinaryIO:
        """A content, to be read; FileNotFoundError where it is not kept."""
        path = self.path(sha256)
        try:
            return os.fdopen(os.open(path, _READ), "rb")
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _missing(sha256) from None
            raise

    def stat(self, sha256: str) -> Stored | None:
        """How large a content is; None where it is not kept."""
        try:
            found = self.path(sha256).lstat()
        except FileNotFoundError:
            return None
        return Stored(sha256, found.st_size) if stat.S_ISREG(found.st_mode) else None

    def path(self, sha256: str) -> Path:
        """A file on this machine that holds a content, for those who need one; FileNotFoundError where it is not kept.

        Neither the content nor its folder may be a link: it could lead to any file of this machine.
        """
        path = self._place(sha256)
        if path.parent.is_symlink() or path.is_symlink() or not path.is_file():
            raise _missing(sha256)
        return path

    def scratch(self, name: str, run: int) -> Path:
        """Where a content is gathered over several tries, on whichever machine.

        A later run goes on from a copy of what an earlier one left: that one's worker may be alive, and still writing.
        """
        folder = self._below(_ASIDE)
        path = folder / f"{name}.{run}.part"
        with _told():
            for older in () if path.exists() else sorted(folder.glob(f"{name}.*.part")):
                shutil.copyfile(older, path)
                older.unlink(missing_ok=True)
        return path

    def adopt(self, part: Path, sha256: str) -> Stored:
        """Keep a file that was gathered here and is whole, in place of one of the same content."""
        place = self._place(sha256)
        with _told():
            self._below(place.parent.name)
            _to_disk(part)
            os.utime(part)
            size = part.stat().st_size
            os.replace(part, place)  # noqa: PTH105 - the call that is atomic, by its name
            part.unlink(missing_ok=True)  # it is still there where both were the same file already
            _to_disk(place.parent)
        return Stored(sha256, size)

    def kept_before(self, moment: float) -> Iterator[str]:
        """The contents that were last put before then."""
        for folder in sorted(self._folder.glob("[0-9a-f][0-9a-f]")):
            if folder.is_symlink():
                continue
            for path in folder.iterdir():
                if _HASH.fullmatch(path.name) and _is_older(path, moment):
                    yield path.name

    def discard(self, sha256: str, before: float) -> bool:
        """Delete a content, unless it was put since that moment; whether it is gone."""
        place = self._place(sha256)
        aside = self._below(_ASIDE) / f"{sha256}{_DROPPED}"
        if not _is_older(place, before):
            return False
        try:
            os.replace(place, aside)  # noqa: PTH105
        except FileNotFoundError:
            return False
        return self._drop(aside, before)

    def sweep(self, before: float) -> int:
        """Remove what processes left that were killed before they could; how many files."""
        left = list(self._below(_ASIDE).iterdir())
        return sum(self._drop(path, before) for path in left)

    def is_of(self, database: str) -> bool:
        """Whether it is this database that knows what the contents are for; the first that asks is.

        Whoever looked for needless ones in another would find all of them needless.
        """
        path = self._below("") / _OF
        if not path.exists() or not path.stat().st_size:
            path.write_text(database, encoding="utf-8")
        return path.read_text(encoding="utf-8") == database

    def _drop(self, path: Path, before: float) -> bool:
        """Delete a file that lies aside. A content that came at the very moment it was dropped goes back instead."""
        if _is_older(path, before):
            path.unlink(missing_ok=True)
            return True
        if path.suffix == _DROPPED:
            with suppress(FileNotFoundError):
                os.replace(path, self._place(path.stem))  # noqa: PTH105
        return False

    def _place(self, sha256: str) -> Path:
        if not _HASH.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no hash")
        return self._folder / sha256[:2] / sha256

    def _below(self, name: str) -> Path:
        """One of our folders, made where it is not there; a link in its place would lead out of the storage."""
        folder = self._folder / name
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _to_disk(folder.parent)
        if name and folder.is_symlink():
            raise CannotWrite(f"The storage's folder {name} is a link, which is not followed")
        return folder


def hash_of(name: str) -> str:
    """The hash in a content's name, such as `sha256:…`; empty where it is no such name."""
    sha256 = name.removeprefix(PREFIX)
    return sha256 if name.startswith(PREFIX) and _HASH.fullmatch(sha256) else ""


@contextmanager
def _told() -> Iterator[None]:
    """A full disk as our error; any other trouble with it is a fault of the installation, and stays what it is."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        full = CannotWrite("There is no room for it in the storage")
        full.advice = "Nothing of it was kept. Ask whoever runs this service to make room, then send it again."
        raise full from None


def _to_disk(path: Path) -> None:
    """What was written there outlives a power cut; also the names in a folder."""
    if path.is_dir() and os.name == "nt":
        return  # where folders can't be opened
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
