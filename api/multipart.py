"""A multipart body taken apart while it streams: each part goes where it belongs, and none is held whole."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.intake import Sink
from api.problems import Problem

_MEDIA: Final = b"multipart/form-data"
_MOST_PARTS: Final = 1100

Open = Callable[[str, str | None], Sink]
"""Given a part's name and its file's, if it has one: where the part goes."""


class Parts:
    """Gives each part to a sink of its own; a problem where the body is no such form."""

    def __init__(self, content_type: str, open_part: Open) -> None:
        self._open_part = open_part
        self._sink: Sink | None = None
        self._field = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._count = 0
        self._whole = False
        self._parser = _parser(content_type, self)

    def feed(self, chunk: bytes) -> None:
        """Some more of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _no_form(f"it makes no sense: {error}") from None

    def finish(self) -> None:
        """That was all; a problem where its end is missing."""
        if not self._whole:
            raise _no_form("it breaks off before its last boundary")

    def on_part_begin(self) -> None:
        self._count += 1
        self._headers = {}
        if self._count > _MOST_PARTS:
            raise _no_form(f"it has more than {_MOST_PARTS} parts", status=413)

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def on_headers_finished(self) -> None:
        kind, told = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        if kind != b"form-data" or not told.get(b"name"):
            raise _no_form("a part has no name")
        try:
            name, file = told[b"name"].decode(), told[b"filename"].decode() if b"filename" in told else None
        except UnicodeDecodeError:
            raise _no_form("a part's name is not in UTF-8") from None
        self._sink = self._open_part(name, file)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._sink is not None:
            self._sink.write(data[start:end])

    def on_part_end(self) -> None:
        if self._sink is not None:
            self._sink.end()
        self._sink = None

    def on_end(self) -> None:
        self._whole = True


def _parser(content_type: str, parts: Parts) -> MultipartParser:
    kind, told = parse_options_header(content_type)
    boundary = told.get(b"boundary", b"")
    if kind != _MEDIA or not boundary:
        raise _no_form("its boundary is not named")
    calls: Any = {name: getattr(parts, name) for name in vars(Parts) if name.startswith("on_")}
    with suppress(FormParserError):
        return MultipartParser(boundary, calls)
    raise _no_form("its boundary is too long")


def _no_form(why: str, status: int = 400) -> Problem:
    return Problem(status, "bad_form", f"This is no form that can be read: {why}")
