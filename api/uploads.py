"""Streams request bodies, including multipart: counts, hashes and checks them piece by piece."""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.errors import Problem
from api.routing import too_large
from reelq import media
from reelq.manifest.columns import control_character
from reelq.manifest.inputs import is_a_path
from reelq.storage import Incoming, Storage

_CHUNK_BYTES: Final = 1 << 20
"""Bytes to collect before a write to disk, as each switch to a thread takes time."""
_MAX_NAME: Final = 200
_CONTENT_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_MAX_PARTS: Final = 1100


async def stream_body(request: Request, feed: Callable[[bytes], None], most: int) -> None:
    """Read the whole body and pass it in pieces to `feed`, which runs in threads.

    Raise a problem if the body is too long or breaks off.
    """
    header = request.headers.get("content-length", "")
    announced = int(header) if _CONTENT_LENGTH.fullmatch(header) else None
    if announced is not None and announced > most:
        raise too_large(most)
    received, buffer = 0, bytearray()
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > most:
                raise too_large(most)
            buffer += chunk
            if len(buffer) >= _CHUNK_BYTES:
                await run_in_threadpool(feed, bytes(buffer))
                buffer.clear()
    except ClientDisconnect:
        raise Problem(400, "cut_off", "The request broke off") from None
    if announced is not None and received != announced:
        raise Problem(400, "cut_off", f"Content-Length is {announced} bytes, but {received} arrived")
    await run_in_threadpool(feed, bytes(buffer))


class TextPart:
    """A part that is kept in memory, such as a manifest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._content = bytearray()
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The SHA-256 of everything received so far."""
        return self._hash.hexdigest()

    @property
    def whole(self) -> bytes:
        """Everything received so far."""
        return bytes(self._content)

    def write(self, chunk: bytes) -> None:
        """Receive the next piece."""
        if len(self._content) + len(chunk) > self._most:
            raise too_large(self._most)
        self._hash.update(chunk)
        self._content += chunk

    def end(self) -> None:
        """Finish the part."""


class Upload:
    """A file that is being uploaded to storage, if the remote service accepts files of its type."""

    def __init__(self, storage: Storage, name: str, open_files: ExitStack) -> None:
        """The file is deleted when `open_files` closes, unless it was kept."""
        check_name(name)
        self.name = name
        self.incoming: Incoming = open_files.enter_context(storage.receive())
        self._head = b""
        self._type_checked = False

    def write(self, chunk: bytes) -> None:
        """Receive the next piece."""
        if self.incoming.size + len(chunk) > media.MAX_BYTES:
            raise file_too_large(self.name)
        if not self._type_checked:
            self._head += chunk[: media.HEAD_BYTES - len(self._head)]
            if len(self._head) == media.HEAD_BYTES:
                self._check_type()
        self.incoming.write(chunk)

    def end(self) -> None:
        """Finish the file. Raise a problem if it is empty or of the wrong type."""
        if not self.incoming.size:
            raise Problem(422, "empty_file", f"{self.name} is empty", advice="Send the file's bytes as they are.")
        self._check_type()
        self.incoming.end()

    def _check_type(self) -> None:
        self._type_checked = True
        if actual_type := media.mismatched_type(self.name, self._head):
            detail = f"{self.name} is {actual_type}, by its first bytes"
            raise Problem(415, "type_not_accepted", detail, advice="Give it the right file extension.")


def check_name(name: str) -> None:
    """Raise a problem if the name is not valid, or the remote service does not accept files of this type."""
    if control_character(name) or is_a_path(name) or len(name) > _MAX_NAME or not name.rpartition("/")[2]:
        detail = "Invalid file name: it contains a path or control characters, or is too long"
        raise Problem(422, "invalid_name", detail, advice=f"At most {_MAX_NAME} characters, such as beach.mp4.")
    if media.kind_of(name) is None:
        accepted = " ".join(extension for kind in media.ACCEPTED.values() for extension in kind)
        detail = f"{name}: the service does not accept this type of file"
        raise Problem(415, "type_not_accepted", detail, advice=f"Accepted: {accepted}.")


def file_too_large(name: str) -> Problem:
    """Return the problem for a file that is too large for the remote service."""
    return Problem(413, "file_too_large", f"{name} is over 500 MB", advice="Compress or trim it.")


class MultipartForm(ABC):
    """Parses a multipart form piece by piece. Raises a problem if the form is not valid."""

    def __init__(self, content_type: str) -> None:
        self._part: TextPart | Upload  # the parser has a part's headers, and so its name, before its data
        self._field = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._count = 0
        self._finished = False
        self._parser = self._parser_for(content_type)

    @abstractmethod
    def open_part(self, name: str, file_name: str | None) -> TextPart | Upload:
        """Return what receives a part, given the part's name and its file name, if it has one."""

    def feed(self, chunk: bytes) -> None:
        """Parse the next piece of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _bad_form(f"it cannot be parsed: {error}") from None

    def finish(self) -> None:
        """Finish the form. Raise a problem if its last boundary is missing."""
        if not self._finished:
            raise _bad_form("it breaks off before its last boundary")

    def on_part_begin(self) -> None:
        self._count += 1
        self._headers = {}
        if self._count > _MAX_PARTS:
            raise _bad_form(f"it has more than {_MAX_PARTS} parts", status=413)

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        if kind != b"form-data" or not options.get(b"name"):
            raise _bad_form("a part has no name")
        try:
            name = options[b"name"].decode()
            file_name = options[b"filename"].decode() if b"filename" in options else None
        except UnicodeDecodeError:
            raise _bad_form("a part's name is not in UTF-8") from None
        self._part = self.open_part(name, file_name)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._part.write(data[start:end])

    def on_part_end(self) -> None:
        self._part.end()

    def on_end(self) -> None:
        self._finished = True

    def _parser_for(self, content_type: str) -> MultipartParser:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise _bad_form("it has no boundary")
        callbacks: Any = {name: getattr(self, name) for name in vars(MultipartForm) if name.startswith("on_")}
        try:
            return MultipartParser(boundary, callbacks)
        except FormParserError:
            raise _bad_form("its boundary is too long") from None


def _bad_form(why: str, status: int = 400) -> Problem:
    return Problem(status, "bad_form", f"Invalid multipart form: {why}")
