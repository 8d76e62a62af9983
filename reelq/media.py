"""What can be told of media files without decoding them: accepted types, size limits, the duration of an MP4."""

import os
import re
import struct
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final


class Kind(StrEnum):
    """The kind of a media file."""

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
"""The largest file. The service says "500 MB" but not which megabyte; the larger one rejects nothing too early."""
_KINDS: Final = {extension: kind for kind, extensions in ACCEPTED.items() for extension in extensions}
_WITH_MOVIE_HEADER: Final = frozenset({"mp4", "mov", "m4a"})
_MAX_BOXES_READ: Final = 1000  # a valid file has a handful; a broken one could have millions of empty boxes
_UNKNOWN_32: Final = 2**32 - 1
_UNKNOWN_64: Final = 2**64 - 1

HEAD_BYTES: Final = 512
"""The number of leading bytes that identify a file's type."""
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
"""The signatures of file types, a name for each, and the extensions that match."""


def mismatched_type(name: str, head: bytes) -> str:
    """The type that a file's first bytes show, if it contradicts the file's name; otherwise an empty string."""
    match = next(
        ((type_name, matching) for signature, type_name, matching in _SIGNATURES if signature.match(head[:HEAD_BYTES])),
        None,
    )
    return match[0] if match and extension_of(name) not in match[1] else ""


def extension_of(name: str) -> str:
    """The extension in lower case, without its dot."""
    return os.path.splitext(name)[1][1:].lower()  # noqa: PTH122 - creating a Path per row is slow for large manifests


def kind_of(name: str) -> Kind | None:
    """The kind of a file with this name; None if the service does not accept it."""
    return _KINDS.get(extension_of(name))


def duration(path: Path, name: str = "") -> float | None:
    """The duration in seconds of an MP4, MOV or M4A, from its movie header; None if it is unknown.

    `name` is the original name of a file that is stored under another one.
    """
    if extension_of(name or path.name) not in _WITH_MOVIE_HEADER:
        return None
    try:
        with path.open("rb") as file:
            return _read_duration(file, path.stat().st_size)
    except OSError:
        return None


def _read_duration(file: BinaryIO, size: int) -> float | None:
    movie = _find_box(file, b"moov", 0, size)
    header = movie and _find_box(file, b"mvhd", *movie)
    if not header:
        return None
    file.seek(header[0])
    return _header_duration(file.read(min(32, header[1] - header[0])))


def _find_box(file: BinaryIO, wanted: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The start and end of the content of the first box of this type between two offsets. It only reads box headers."""
    for _ in range(_MAX_BOXES_READ):
        box = _read_box(file, start, end)
        if box is None:
            return None
        kind, content, after = box
        if kind == wanted:
            return content, after
        start = after
    return None


def _read_box(file: BinaryIO, start: int, end: int) -> tuple[bytes, int, int] | None:
    """The box at an offset: its type, and the start and end of its content; None if there is no valid box."""
    file.seek(start)
    head = file.read(min(16, max(0, end - start)))
    if len(head) < 8:
        return None
    size, content = int.from_bytes(head[:4], "big"), start + 8
    if size == 1 and len(head) == 16:
        size, content = int.from_bytes(head[8:], "big"), start + 16
    elif size == 0:  # in the format, 0 means up to the end
        size = end - start
    after = start + size
    return (head[4:8], content, after) if content <= after <= end else None


def _header_duration(header: bytes) -> float | None:
    """The duration in a movie header of version 0 (32-bit times) or 1 (64-bit times)."""
    layout, unknown = (">20xIQ", _UNKNOWN_64) if header[:1] == b"\x01" else (">12xII", _UNKNOWN_32)
    if len(header) < struct.calcsize(layout):
        return None
    ticks_a_second, ticks = struct.unpack_from(layout, header)
    # In a fragmented file there are 0 ticks, as its duration is stored elsewhere.
    return ticks / ticks_a_second if ticks_a_second and ticks not in (0, unknown) else None


def is_whole_mp4(path: Path) -> bool:
    """Whether a file is a complete MP4: it starts as one, has an index, and no box is cut off."""
    kinds: set[bytes] = set()
    try:
        with path.open("rb") as file:
            end = path.stat().st_size
            start = 0
            while start < end and len(kinds) < _MAX_BOXES_READ:
                box = _read_box(file, start, end)
                if box is None or (start == 0 and box[0] != b"ftyp"):
                    return False
                kinds.add(box[0])
                start = box[2]
    except OSError:
        return False
    return {b"moov", b"mdat"} <= kinds
