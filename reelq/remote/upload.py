"""Files on their way out: read from disk as they go, counted as they leave, however often they are sent."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from reelq import errors
from reelq.remote.jsontext import plain

Meter = Callable[[int], None]
"""Told how many bytes have gone so far."""

Part = tuple[str, tuple[str, BinaryIO]]


def parts(paths: Sequence[Path], meter: Meter, open_files: ExitStack, names: Sequence[str] = ()) -> list[Part]:
    """The files as the parts of one multipart upload, under these names, or else their own."""
    gone = _Gone(meter)
    named = zip(paths, names or [path.name for path in paths], strict=True)
    return [("files", (plain(name), _open(path, name, open_files, gone))) for path, name in named]


class _Gone:
    """Counts the bytes of all files of one upload."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._bytes = 0

    def more(self, count: int) -> None:
        self._bytes += count
        self._meter(self._bytes)

    def back(self, count: int) -> None:
        self._bytes -= count


class _Metered:
    """A file that tells how much of it was read; the transport rewinds it when a request is sent again."""

    def __init__(self, file: BinaryIO, name: str, gone: _Gone) -> None:
        self._file = file
        self._name = name
        self._gone = gone
        self._promised = os.fstat(file.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        try:
            chunk = self._file.read(size)
        except OSError as error:
            raise _unreadable(self._name, error) from None
        self._check(chunk)
        return chunk

    def _check(self, chunk: bytes) -> None:
        """The length went ahead of the content: a file that turns out to have another is not what was meant."""
        at = self._file.tell()
        if at > self._promised or (not chunk and at < self._promised):
            raise errors.FileUnreadable(f"{plain(self._name)} changed while it was sent")
        self._gone.more(len(chunk))

    def seek(self, offset: int, whence: int = 0) -> int:
        before = self._file.tell()
        after = self._file.seek(offset, whence)
        self._gone.back(before - after)
        return after

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()


def _open(path: Path, name: str, open_files: ExitStack, gone: _Gone) -> BinaryIO:
    try:
        file = open_files.enter_context(path.open("rb"))
    except OSError as error:
        raise _unreadable(name, error) from None
    return _Metered(file, name, gone)  # type: ignore[return-value] # the transport uses only what it has


def _unreadable(name: str, error: OSError) -> errors.FileUnreadable:
    return errors.FileUnreadable(f"{plain(name)} can't be read: {error.strerror}")
