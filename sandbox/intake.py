"""Receives files, from a multipart body or a URL, straight to disk, and checks their size on the way."""

import asyncio
import hashlib
import secrets
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from sandbox.envelope import Code, Refusal
from sandbox.media import KINDS, kind_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

_FETCH_SECONDS: Final = 60
_CHUNK_BYTES: Final = 1 << 20


@dataclass(slots=True)
class Incoming:
    """A file that is being received."""

    filename: str
    path: Path
    most: int
    size: int = 0
    _file: BinaryIO = field(init=False)
    _hash: "hashlib._Hash" = field(init=False, default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        if kind_of(self.filename) is None:
            raise Refusal(Code.TYPE_NOT_ACCEPTED, f"file type not accepted; accepted types: {', '.join(sorted(KINDS))}")
        self._file = self.path.open("wb")

    def write(self, chunk: bytes | memoryview) -> None:
        self.size += len(chunk)
        if self.size > self.most:
            raise Refusal(Code.FILE_TOO_LARGE, f"file too large: at most {self.most >> 20} MB")
        self._hash.update(chunk)
        self._file.write(chunk)

    def close(self) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class Intake:
    """Receives the files of one request.

    A refusal is kept until the body has been read: a client does not read the response while it is still sending.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._refusal: Refusal | None = None
        self._current: Incoming | None = None
        self._field_name = b""
        self._field_value = b""
        self._disposition = b""
        self.files: list[Incoming] = []

    async def read_multipart(self, content_type: str, body: "AsyncIterable[bytes]") -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise Refusal(Code.UNPROCESSABLE, "the multipart body has no boundary")
        parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._begin_file,
                "on_part_data": self._part_data,
                "on_part_end": self._end_file,
            },
        )
        try:
            async for chunk in body:
                parser.write(chunk)
            parser.finalize()
        except MultipartParseError as error:
            raise Refusal(Code.UNPROCESSABLE, f"invalid multipart body: {error}") from None
        self._check()

    async def fetch(self, url: object) -> None:
        """Fetch a file from its URL, as the service does."""
        if not isinstance(url, str) or urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
            raise Refusal(Code.UNPROCESSABLE, "urls must be http or https URLs")
        await asyncio.to_thread(self._fetch, url)
        self._check()

    def discard(self) -> None:
        for incoming in self.files:
            incoming.close()
            incoming.path.unlink(missing_ok=True)

    def _fetch(self, url: str) -> None:
        filename = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
        try:
            # Only the two schemes checked above get here.
            with urllib.request.urlopen(url, timeout=_FETCH_SECONDS) as response:  # noqa: S310
                self._begin(filename)
                while chunk := response.read(_CHUNK_BYTES):
                    self._write(chunk)
        except OSError as error:
            reason = error.code if isinstance(error, urllib.error.HTTPError) else "no connection"
            raise Refusal(Code.UNPROCESSABLE, f"the address could not be fetched: {reason}") from None
        self._end_file()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._field_name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._field_value += data[start:end]

    def _header_end(self) -> None:
        if self._field_name.lower() == b"content-disposition":
            self._disposition = self._field_value
        self._field_name = self._field_value = b""

    def _begin_file(self) -> None:
        options = parse_options_header(self._disposition)[1]
        self._disposition = b""
        if options.get(b"name") == b"files" and b"filename" in options:
            self._begin(Path(options[b"filename"].decode(errors="replace")).name)

    def _begin(self, filename: str) -> None:
        try:
            self._current = Incoming(filename, self._folder / f"incoming-{secrets.token_hex(8)}", self._most)
            self.files.append(self._current)
        except Refusal as refusal:
            self._refusal = self._refusal or refusal

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._write(memoryview(data)[start:end])

    def _write(self, chunk: bytes | memoryview) -> None:
        if self._current is None or self._refusal:
            return
        try:
            self._current.write(chunk)
        except Refusal as refusal:
            self._refusal = refusal

    def _end_file(self) -> None:
        if self._current:
            self._current.close()
        self._current = None

    def _check(self) -> None:
        if self._refusal:
            raise self._refusal
        if not self.files:
            raise Refusal(Code.UNPROCESSABLE, "no part is named files")
