"""Media files, as far as one can tell without decoding: what is accepted, how large, and how long an MP4 plays."""

import os
import re
import struct
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final


class Kind(StrEnum):
    """What a file is to the agent."""

    VIDEO = "video"
    IMAGE = "image"
    AUDIO = "audio"


ACCEPTED: Final = MappingProxyType(
    {
        Kind.VIDEO: ("mp4", "mov", "avi", "webm", "mkv"),
        # The service says "jpg"; a camera that writes "jpeg" writes the same format.
        Kind.IMAGE: ("jpg", "jpeg", "png", "gif", "webp"),
        Kind.AUDIO: ("mp3", "wav", "m4a", "aac"),
    }
)
"""The extensions that the service accepts, by kind."""

MAX_BYTES: Final = 500 * 1024 * 1024
"""The largest file. The service says "500 MB", not which megabyte: the larger one refuses nothing it might take."""

_KINDS: Final = {extension: kind for kind, extensions in ACCEPTED.items() for extension in extensions}
_MOVIE_BOXES: Final = frozenset({"mp4", "mov", "m4a"})
_BOXES_READ: Final = 1000  # a sound file has a handful; a broken one could send us through millions of empty ones
_UNKNOWN_32: Final = 2**32 - 1
_UNKNOWN_64: Final = 2**64 - 1


HEAD_BYTES: Final = 512
"""So many of a file's first bytes tell what it is, if any do."""
_SIGNATURES: Final = tuple(
    (re.compile(pattern, re.DOTALL), what, frozenset(extensions.split()))
    for pattern, what, extensions in (
        (rb".{4}(?:ftyp|moov|mdat|wide|free|skip|pnot)", "an MP4 or MOV file", "mp4 mov m4a"),
        (rb"\x1a\x45\xdf\xa3", "a WebM or MKV file", "webm mkv"),
        (rb"RIFF.{4}AVI ", "an AVI file", "avi"),
        (rb"RIFF.{4}WAVE", "a WAV file", "wav"),
        (rb"RIFF.{4}WEBP", "a WebP picture", "webp"),
        (rb"\xff\xd8\xff", "a JPEG picture", "jpg jpeg"),
        (rb"\x89PNG\r\n", "a PNG picture", "png"),
        (rb"GIF8[79]a", "a GIF picture", "gif"),
        (rb"ID3", "an MP3 or AAC file", "mp3 aac"),
        (rb"\xff[\xf0\xf1\xf8\xf9]", "an AAC file", "aac"),
        (rb"%PDF-", "a PDF document", ""),
        (rb"PK\x03\x04|PK\x05\x06|\x1f\x8b\x08|Rar!\x1a|7z\xbc\xaf", "an archive", ""),
        (rb"\x7fELF|MZ.{64}|#!", "a program", ""),
        (rb"[\t\r\n\x20-\x7e]{32,}\Z", "plain text", ""),
    )
)
"""How files begin, what they are then, and the extensions that fit."""


def not_as_named(name: str, head: bytes) -> str:
    """What a file evidently is, by its first bytes, where its name says something else; else nothing."""
    found = next(((what, fit) for begins, what, fit in _SIGNATURES if begins.match(head[:HEAD_BYTES])), None)
    return found[0] if found and extension_of(name) not in found[1] else ""


def extension_of(name: str) -> str:
    """The extension in lower case, without its dot."""
    return os.path.splitext(name)[1][1:].lower()  # noqa: PTH122 - a Path a row is what a large manifest waits for


def kind_of(name: str) -> Kind | None:
    """What a file of this name is; None where the service would not accept it."""
    return _KINDS.get(extension_of(name))


def duration(path: Path, name: str = "") -> float | None:
    """How many seconds an MP4, MOV or M4A plays, from its movie header; None where that can't be told.

    `name` is what the file is called, where it lies under another name.
    """
    if extension_of(name or path.name) not in _MOVIE_BOXES:
        return None
    try:
        with path.open("rb") as file:
            return _seconds(file, path.stat().st_size)
    except OSError:
        return None


def _seconds(file: BinaryIO, size: int) -> float | None:
    movie = _find(file, b"moov", 0, size)
    header = movie and _find(file, b"mvhd", *movie)
    if not header:
        return None
    file.seek(header[0])
    return _header_seconds(file.read(min(32, header[1] - header[0])))


def _find(file: BinaryIO, wanted: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Where the content of the first such box between two offsets begins and ends. Contents are skipped, not read."""
    for _ in range(_BOXES_READ):
        box = _box(file, start, end)
        if box is None:
            return None
        kind, content, after = box
        if kind == wanted:
            return content, after
        start = after
    return None


def _box(file: BinaryIO, start: int, end: int) -> tuple[bytes, int, int] | None:
    """The box at an offset: its type, and where its content begins and ends; None where there is no sound one."""
    file.seek(start)
    head = file.read(min(16, max(0, end - start)))
    if len(head) < 8:
        return None
    size, content = int.from_bytes(head[:4], "big"), start + 8
    if size == 1 and len(head) == 16:
        size, content = int.from_bytes(head[8:], "big"), start + 16
    elif size == 0:  # by the format: it goes on to the end
        size = end - start
    after = start + size
    return (head[4:8], content, after) if content <= after <= end else None


def _header_seconds(header: bytes) -> float | None:
    """The length that a movie header states, in its version 0 (32-bit times) or 1 (64-bit times)."""
    layout, unknown = (">20xIQ", _UNKNOWN_64) if header[:1] == b"\x01" else (">12xII", _UNKNOWN_32)
    if len(header) < struct.calcsize(layout):
        return None
    ticks_a_second, ticks = struct.unpack_from(layout, header)
    # No ticks at all is how a fragmented file says that its length stands elsewhere.
    return ticks / ticks_a_second if ticks_a_second and ticks not in (0, unknown) else None


def is_whole_mp4(path: Path) -> bool:
    """Whether a file is an MP4 with all its boxes: it begins as one, has its index, and no box is cut off."""
    kinds: set[bytes] = set()
    try:
        with path.open("rb") as file:
            end = path.stat().st_size
            start = 0
            while start < end and len(kinds) < _BOXES_READ:
                box = _box(file, start, end)
                if box is None or (start == 0 and box[0] != b"ftyp"):
                    return False
                kinds.add(box[0])
                start = box[2]
    except OSError:
        return False
    return {b"moov", b"mdat"} <= kinds
