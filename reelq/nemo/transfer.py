"""Uploads and downloads: streamed from disk, resumed after a break, and verified before a file counts as complete."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import httpx

from reelq import errors, media
from reelq.nemo import safe_text, wire
from reelq.nemo.safe_text import without_invalid_characters
from reelq.nemo.transport import read_body, secret_of

ProgressCallback = Callable[[int], None]
"""Called with the number of bytes transferred so far."""
Part = tuple[str, tuple[str, BinaryIO]]


def multipart_parts(
    paths: Sequence[Path], on_progress: ProgressCallback, open_files: ExitStack, names: Sequence[str] = ()
) -> list[Part]:
    """The files as the parts of one multipart upload, under `names` or else their own names."""
    sent = 0

    def count(change: int) -> None:
        """Count the bytes sent over all files; rewinding a file takes its bytes back."""
        nonlocal sent
        sent += change
        if change > 0:
            on_progress(sent)

    named = zip(paths, names or [path.name for path in paths], strict=True)
    return [("files", (without_invalid_characters(name), _open(path, name, open_files, count))) for path, name in named]


class _CountedFile:
    """A file that counts the bytes read from it. httpx rewinds it when it sends a request again."""

    def __init__(self, file: BinaryIO, name: str, count: Callable[[int], None]) -> None:
        self._file = file
        self._name = name
        self._count = count
        self._announced_size = os.fstat(file.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        try:
            chunk = self._file.read(size)
        except OSError as error:
            raise _unreadable(self._name, error) from None
        # Fail if the file's size has changed: its length was sent before its content.
        position = self._file.tell()
        if position > self._announced_size or (not chunk and position < self._announced_size):
            raise errors.FileUnreadable(f"{without_invalid_characters(self._name)} changed while it was sent")
        self._count(len(chunk))
        return chunk

    def seek(self, offset: int, whence: int = 0) -> int:
        before = self._file.tell()
        after = self._file.seek(offset, whence)
        self._count(after - before)
        return after

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()


def _open(path: Path, name: str, open_files: ExitStack, count: Callable[[int], None]) -> BinaryIO:
    try:
        file = open_files.enter_context(path.open("rb"))
    except OSError as error:
        raise _unreadable(name, error) from None
    return _CountedFile(file, name, count)  # type: ignore[return-value] # httpx uses only the methods it has


def _unreadable(name: str, error: OSError) -> errors.FileUnreadable:
    return errors.FileUnreadable(f"{without_invalid_characters(name)} can't be read: {error.strerror}")


_RANGE: Final = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)")


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The size and checksum of a complete file."""

    size: int
    sha256: str


def download(
    http: httpx.Client,
    url: httpx.URL,
    part: Path,
    on_progress: ProgressCallback,
    *,
    auth: httpx.Auth | None,
    headers: Mapping[str, str],
) -> Downloaded:
    """Download `url` into `part`, which holds the beginning of this very file or does not exist.

    If the connection breaks, `part` keeps what has arrived for the next try. If the content turns out wrong, `part` is
    deleted.
    """
    try:
        offset = _size(part)
        request_headers = {**headers, "Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        with http.stream("GET", url, headers=request_headers, auth=auth, follow_redirects=True) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                total: int | None = _check_complete(response, offset, part)
            else:
                _raise_unless_file(response)
                total = _write(response, part, offset, on_progress)
        return _check(part, total)
    except OSError as error:  # httpx's own errors are not OSErrors: this is the disk
        raise errors.CannotWrite(f"{part.name} can't be written: {error.strerror}") from None


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _range(response: httpx.Response) -> tuple[int | None, int | None]:
    """The start of the body and the size of the file, from Content-Range."""
    match = _RANGE.match(response.headers.get("content-range", ""))
    if not match:
        return None, None
    start, total = match.groups()
    return int(start) if start else None, int(total) if total != "*" else None


def _check_complete(response: httpx.Response, offset: int, part: Path) -> int:
    """The server has no bytes beyond `offset`: either the part is complete, or it is not this file."""
    total = _range(response)[1]
    if total != offset:
        raise _broken(part, f"{offset} bytes were already on disk, of {total or 'an unknown number'}")
    return total


def _raise_unless_file(response: httpx.Response) -> None:
    """Raise if the response is an error or not a file."""
    kind = response.headers.get("content-type", "").lower()
    if response.is_success and not kind.startswith(("application/json", "text/html")):
        return
    secret, body = secret_of(response), read_body(response)
    wire.unwrap(response.status_code, body, wire.Area.FILE, secret=secret)
    raise errors.Unintelligible("The service sent JSON instead of a file", raw=safe_text.excerpt(body, secret))


def _write(response: httpx.Response, part: Path, offset: int, on_progress: ProgressCallback) -> int | None:
    start, total = _range(response)
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        start, total = 0, _length(response)
    elif start not in {0, offset}:
        raise _broken(part, f"requested bytes from {offset}, received bytes from {start}")
    written = start or 0
    with part.open("ab" if written else "wb") as file:
        # Write chunks as they arrive: a larger one, half full, would be lost with the connection.
        for chunk in response.iter_bytes():
            file.write(chunk)
            written += len(chunk)
            on_progress(written)
        file.flush()
        os.fsync(file.fileno())
    return total


def _length(response: httpx.Response) -> int | None:
    """The size of the file; unknown if the response is compressed although we asked for it uncompressed."""
    length = "" if "content-encoding" in response.headers else response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


def _check(part: Path, total: int | None) -> Downloaded:
    size = _size(part)
    if total is not None and size != total:
        raise _broken(part, f"{size} of {total} bytes arrived")
    if not media.is_whole_mp4(part):
        raise _broken(part, "it is not a complete MP4 file")
    with part.open("rb") as file:
        return Downloaded(size, hashlib.file_digest(file, "sha256").hexdigest())


def _broken(part: Path, reason: str) -> errors.BrokenDownload:
    part.unlink(missing_ok=True)
    return errors.BrokenDownload(f"The download is incomplete: {reason}")
