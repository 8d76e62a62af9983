"""The upload endpoint: receives files from a multipart body or from URLs, and adds them to the timeline."""

import asyncio
import hashlib
import secrets
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sandbox.agent import add_upload
from sandbox.media import KINDS, Media, kind_of, probe
from sandbox.middleware import Call
from sandbox.responses import Code, Refusal, success
from sandbox.service import Service

_FETCH_SECONDS: Final = 60
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Received:
    """A file that has arrived, under a temporary name."""

    filename: str
    kind: str
    path: Path
    size: int
    sha256: str


class _Receiver:
    """Writes the files of one request to a temporary folder, checking their types and sizes."""

    def __init__(self, folder: Path, max_mb: int) -> None:
        self._folder = folder
        self._max_mb = max_mb

    def fetch(self, url: object) -> _Received:
        """Fetch a file from its URL, as the service does."""
        if not isinstance(url, str) or urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
            raise Refusal(Code.UNPROCESSABLE, "urls must be http or https URLs")
        filename = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
        try:
            # Only the two schemes checked above get here.
            with urllib.request.urlopen(url, timeout=_FETCH_SECONDS) as response:  # noqa: S310
                return self.save(response, filename)
        except OSError as error:
            reason = error.code if isinstance(error, urllib.error.HTTPError) else "no connection"
            raise Refusal(Code.UNPROCESSABLE, f"the address could not be fetched: {reason}") from None

    def save(self, source: BinaryIO, filename: str) -> _Received:
        """Copy a file to disk."""
        kind = kind_of(filename)
        if kind is None:
            raise Refusal(Code.TYPE_NOT_ACCEPTED, f"file type not accepted; accepted types: {', '.join(sorted(KINDS))}")
        path, size, digest = self._folder / secrets.token_hex(8), 0, hashlib.sha256()
        with path.open("wb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > self._max_mb << 20:
                    raise Refusal(Code.FILE_TOO_LARGE, f"file too large: at most {self._max_mb} MB")
                digest.update(chunk)
                file.write(chunk)
        return _Received(filename, kind, path, size, digest.hexdigest())


async def upload(call: Call) -> Response:
    session = call.session(call.param("session_id"))
    with tempfile.TemporaryDirectory(dir=call.service.folder, ignore_cleanup_errors=True) as folder:
        received = await _receive(call, _Receiver(Path(folder), call.service.settings.max_file_mb))
        await call.service.wait("upload")
        uploaded = [await _store(call.service, file) for file in received]
    applied = not call.strikes("upload_not_applied")
    for media in uploaded:
        session.media.append(media)
        call.service.state.files[media.cdn] = media.path
        call.service.ledger.upload(session.id, media.filename, media.size, media.sha256)
        if applied:
            add_upload(session.draft, media)
    base = str(call.request.base_url)
    return success({"files": [media.shown(base) for media in uploaded], "session_state_applied": applied})


async def _receive(call: Call, receiver: _Receiver) -> list[_Received]:
    if call.request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await _receive_multipart(call.request, receiver)
    body = await call.json()
    urls = body.get("urls")
    if body.get("source_type") != "url" or not isinstance(urls, list) or not urls:
        raise Refusal(Code.UNPROCESSABLE, 'a JSON upload needs "urls" and "source_type": "url"')
    return [await asyncio.to_thread(receiver.fetch, url) for url in urls]


async def _receive_multipart(request: Request, receiver: _Receiver) -> list[_Received]:
    try:
        # The body is read to its end even if it is refused: a client reads no response while it is still sending.
        form = await request.form()
    except HTTPException as error:
        raise Refusal(Code.UNPROCESSABLE, f"invalid multipart body: {error.detail}") from None
    try:
        parts = [part for part in form.getlist("files") if isinstance(part, UploadFile)]
        saved = [await asyncio.to_thread(receiver.save, part.file, Path(part.filename or "").name) for part in parts]
    finally:
        await form.close()
    if not saved:
        raise Refusal(Code.UNPROCESSABLE, "no part is named files")
    return saved


async def _store(service: Service, file: _Received) -> Media:
    """Store a file; equal contents are stored and probed once."""
    path = service.folder / f"{file.sha256}-{file.kind}"
    if path not in service.facts:
        file.path.replace(path)
        service.facts[path] = await probe(path, file.kind)
    cdn = f"files/{file.sha256[:24]}/{file.filename}"
    return Media(file.filename, file.kind, path, file.sha256, file.size, cdn, service.facts[path])
