"""A finished file to disk: streamed, going on where an earlier try ended, checked before anybody may call it whole."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import httpx

from reelq import errors, media
from reelq.remote import jsontext, wire
from reelq.remote.body import read_whole

_RANGE: Final = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)")


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The receipt of a whole file."""

    size: int
    sha256: str


def fetch(
    http: httpx.Client,
    url: httpx.URL,
    part: Path,
    meter: Callable[[int], None],
    *,
    auth: httpx.Auth | None,
    headers: Mapping[str, str],
) -> Downloaded:
    """The file at `url` into `part`, which holds nothing else than a beginning of that very file, or does not exist.

    A try that breaks off leaves what it has for the next; one that turns out wrong leaves nothing.
    """
    try:
        have = _size(part)
        ask = {**headers, "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with http.stream("GET", url, headers=ask, auth=auth, follow_redirects=True) as response:
            total = _receive(response, part, have, meter)
        return _check(part, total)
    except OSError as error:  # the transport's own are none: it is the disk that fails
        raise errors.CannotWrite(f"{part.name} can't be written: {error.strerror}") from None


def _receive(response: httpx.Response, part: Path, have: int, meter: Callable[[int], None]) -> int | None:
    if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        return _all_there(response, have, part)
    _refuse(response)
    return _write(response, part, have, meter)


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Where the body begins and how long the whole is, as Content-Range says it."""
    found = _RANGE.match(response.headers.get("content-range", ""))
    if not found:
        return None, None
    start, total = found.groups()
    return int(start) if start else None, int(total) if total != "*" else None


def _all_there(response: httpx.Response, have: int, part: Path) -> int:
    """No byte lies beyond what we have: it is all there, or it is not this file."""
    total = _range(response)[1]
    if total != have:
        raise _broken(part, f"{have} bytes were there already, of {total or 'an unknown number'}")
    return total


def _refuse(response: httpx.Response) -> None:
    """An answer that is an error or no file."""
    kind = response.headers.get("content-type", "").lower()
    if response.is_success and not kind.startswith(("application/json", "text/html")):
        return
    secret = response.request.headers.get("Authorization", "").removeprefix("Bearer ")
    body = read_whole(response)
    wire.unwrap(response.status_code, body, wire.Where.FILE, secret=secret)
    raise errors.Unintelligible("JSON instead of a file", raw=jsontext.shown(body, secret))


def _write(response: httpx.Response, part: Path, have: int, meter: Callable[[int], None]) -> int | None:
    start, total = _range(response)
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        start, total = 0, _length(response)
    elif start not in {0, have}:
        raise _broken(part, f"bytes from {have} were asked for, bytes from {start} came")
    with part.open("ab" if start else "wb") as file:
        _pour(response, file, start or 0, meter)
    return total


def _length(response: httpx.Response) -> int | None:
    """How long the file is; packed although we asked for it plain, nobody says."""
    length = "" if "content-encoding" in response.headers else response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


def _pour(response: httpx.Response, file: BinaryIO, written: int, meter: Callable[[int], None]) -> None:
    for chunk in response.iter_bytes():  # as they come: larger ones would be lost half full when the connection is
        file.write(chunk)
        written += len(chunk)
        meter(written)
    file.flush()
    os.fsync(file.fileno())


def _check(part: Path, total: int | None) -> Downloaded:
    size = _size(part)
    if total is not None and size != total:
        raise _broken(part, f"{size} bytes arrived of {total}")
    if not media.is_whole_mp4(part):
        raise _broken(part, "it is no complete MP4 file")
    with part.open("rb") as file:
        return Downloaded(size, hashlib.file_digest(file, "sha256").hexdigest())


def _broken(part: Path, why: str) -> errors.BrokenDownload:
    part.unlink(missing_ok=True)
    return errors.BrokenDownload(f"The download is not whole: {why}")
