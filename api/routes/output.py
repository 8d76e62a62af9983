"""A row's finished video, as a whole or as a range of bytes."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import PurePosixPath
from typing import Annotated, BinaryIO, Final
from urllib.parse import quote

from fastapi import Header, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.deps import Caller, Here, Service
from api.errors import Problem
from api.routes.jobs import JobId, own
from reelq.storage import Storage
from reelq.store.api_keys import Holder
from reelq.store.jobs.dependents import result_of

_CHUNK_BYTES: Final = 1 << 18
_MEDIA: Final = "video/mp4"
_ONE_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
_BYTES: Final = {_MEDIA: {"schema": {"type": "string", "format": "binary"}}}
ANSWERS: Final = {
    200: {"description": "The video", "content": _BYTES},
    206: {"description": "The requested bytes", "content": _BYTES},
    304: {"description": "Not modified"},
}

_Range = Annotated[str | None, Header(alias="Range", description="One range: `bytes=0-999`, `bytes=1000-`.")]
_IfRange = Annotated[str | None, Header(alias="If-Range", description="The ETag that the range is meant for.")]
_IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="The ETag of your copy.")]


@dataclass(frozen=True, slots=True)
class Video:
    """A finished video and its metadata."""

    open: Callable[[], BinaryIO]
    name: str
    size: int
    modified: float
    sha256: str

    @property
    def tag(self) -> str:
        """The ETag."""
        return f'"{self.sha256}"'

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every response, whole or partial."""
        return {
            "ETag": self.tag,
            "Last-Modified": formatdate(self.modified, usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Disposition": _disposition(self.name),
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-cache",
        }

    async def bytes(self, first: int, last: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `first` to `last`, inclusive."""
        with await run_in_threadpool(self.open) as file:
            await run_in_threadpool(file.seek, first)
            remaining = last - first + 1
            while remaining and (chunk := await run_in_threadpool(file.read, min(_CHUNK_BYTES, remaining))):
                remaining -= len(chunk)
                yield chunk


def job_output(
    here: Here,
    caller: Caller,
    job_id: JobId,
    asked: _Range = None,
    if_range: _IfRange = None,
    if_none_match: _IfNoneMatch = None,
) -> Response:
    """The finished video, or a range of its bytes."""
    video = _find_video(here, caller, job_id)
    headers = video.headers
    if if_none_match and (if_none_match.strip() == "*" or video.tag in if_none_match):
        return Response(None, 304, headers)
    range_applies = if_range is None or if_range in {video.tag, headers["Last-Modified"]}
    byte_range = _parse_range(asked, video.size) if asked and range_applies else None
    first, last = byte_range or (0, video.size - 1)
    headers["Content-Length"] = str(last - first + 1)
    if byte_range:
        headers["Content-Range"] = f"bytes {first}-{last}/{video.size}"
    return StreamingResponse(video.bytes(first, last), 206 if byte_range else 200, headers, _MEDIA)


def job_output_head(here: Here, caller: Caller, job_id: JobId) -> Response:
    """The headers of the finished video, without its bytes."""
    video = _find_video(here, caller, job_id)
    return Response(None, 200, {**video.headers, "Content-Length": str(video.size)}, _MEDIA)


def _parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte of a range.

    Return None for a header that is not valid or has several ranges. The response is then the whole video.
    """
    match = _ONE_RANGE.fullmatch(header.strip())
    if not match:
        return None
    start, end, suffix = match.groups()
    first = int(start) if start else max(size - int(suffix), 0)
    last = min(int(end), size - 1) if end else size - 1
    if end and int(end) < first:
        return None
    if first >= size or (suffix and not int(suffix)):
        headers = {"Content-Range": f"bytes */{size}"}
        raise Problem(416, "no_such_bytes", f"The video has {size} bytes", headers=headers)
    return first, last


def _find_video(here: Service, caller: Holder, job_id: str) -> Video:
    job = own(here, caller, job_id)
    with here.store.read() as session:
        result = result_of(session, caller.owner, job_id)
    if result is None:
        detail = f"Row {job.row} has no result{'' if job.finished_at else ' yet'}: it is {job.status} in {job.stage}"
        raise Problem(404, "no_result", detail)
    storage = Storage.of(here.settings)
    path = result.found(storage)
    if path is None:
        advice = f"POST /v1/jobs/{job_id}/retry downloads it again, free of charge."
        raise Problem(410, "result_gone", "The video is no longer there", advice=advice)

    def open_file() -> BinaryIO:
        return path.open("rb") if result.path else storage.open(result.sha256)  # does not follow symbolic links

    name = PurePosixPath(job.output).name or f"{job_id}.mp4"
    return Video(open_file, name, result.size, path.stat().st_mtime, result.sha256)


def _disposition(name: str) -> str:
    """Return the `Content-Disposition` header: an ASCII name, and the exact one (RFC 6266) if that differs."""
    ascii_name = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    exact_name = "" if ascii_name == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{ascii_name}"{exact_name}'
