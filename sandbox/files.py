"""Serves files, with ranges and an ETag, and injects download faults."""

import mimetypes
import re
from typing import TYPE_CHECKING, Final

from starlette.responses import FileResponse, Response

from sandbox.envelope import Code, Refusal
from sandbox.renders import find
from sandbox.wire import hang_up

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from sandbox.middleware import AuthenticatedCall as Visit

_DOWNLOAD_FAULTS: Final = ("download_cut", "download_short", "download_corrupted", "download_no_ranges")
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)$")


async def cdn_file(visit: "Visit") -> Response:
    """Serve a file of the CDN; no token is needed, and none should be sent."""
    name = visit.note.about = visit.param("name")
    return _serve(visit, name, visit.service.world.files.get(name))


async def download(visit: "Visit") -> Response:
    """Serve a render's finished file, for clients that can't reach its CDN URL."""
    render = find(visit)
    if render.file is None:
        raise Refusal(Code.NOT_FOUND, "the render has no file yet")
    return _serve(visit, render.file, visit.service.world.files[render.file])


def _serve(visit: "Visit", name: str, path: "Path | None") -> Response:
    if path is None:
        raise Refusal(Code.NOT_FOUND, "no such file")
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    spoiler = next((fault for fault in _DOWNLOAD_FAULTS if visit.strikes(fault)), None)
    if spoiler is None:
        return FileResponse(path, media_type=media_type)
    response = FileResponse(path, stat_result=path.stat())
    return Spoiled(path.read_bytes(), visit.request.headers.get("range", ""), spoiler, response.headers["etag"])


class Spoiled(Response):
    """A file that arrives cut, short or corrupted, or whole when a range was requested."""

    media_type = "video/mp4"

    def __init__(self, contents: bytes, range_header: str, spoiler: str, etag: str) -> None:
        contents = _spoil(contents, spoiler)
        match = _RANGE.match(range_header) if spoiler != "download_no_ranges" else None
        first = int(match[1]) if match else 0
        last = min(int(match[2]), len(contents) - 1) if match and match[2] else len(contents) - 1
        status = 200 if not match else 206 if first <= last else 416
        super().__init__(contents[first : last + 1], status, {"etag": etag})
        self._cut = spoiler == "download_cut"
        if match:
            self.headers["content-range"] = f"bytes {f'{first}-{last}' if first <= last else '*'}/{len(contents)}"
        if spoiler != "download_no_ranges":
            self.headers["accept-ranges"] = "bytes"

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if not self._cut:
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: max(1, len(self.body) // 2)]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await hang_up(scope)


def _spoil(contents: bytes, spoiler: str) -> bytes:
    if spoiler == "download_short":
        return contents[: len(contents) * 2 // 3]
    if spoiler == "download_corrupted":
        return bytes(byte ^ 0x5A for byte in contents)
    return contents
