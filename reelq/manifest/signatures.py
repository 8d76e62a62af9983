"""Files of another kind given as a manifest: known by how they begin, and called what they are."""

import re
from typing import Final

from reelq.manifest.findings import Findings, Place

_ARCHIVE: Final = b"PK\x03\x04"
_OLD_WORKBOOK: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_IN_A_WORKBOOK: Final = (b"[Content_Types].xml", b"xl/workbook", b"opendocument.spreadsheet", b"Index/Document.iwa")
_EXPORT: Final = (
    "In Excel choose “File”, “Save As” and the type “CSV UTF-8 (Comma delimited)”; elsewhere export as CSV in UTF-8"
)
_WRITE: Final = "A manifest is a table, CSV or JSON Lines, that names your files and says what to do with each"
_OTHERS: Final = tuple(
    (what, re.compile(pattern, re.DOTALL))
    for what, pattern in (
        ("a video or a sound", rb"\0...(?:ftyp|moov|mdat|wide|free|skip)|\x1a\x45\xdf\xa3|RIFF....AVI "),
        ("a sound", rb"ID3[\x02-\x04]|RIFF....WAVE|\xff[\xf1\xf3\xf9\xfb]"),
        ("a picture", rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|RIFF....WEBP"),
        ("a PDF document", rb"%PDF-"),
        ("an archive", rb"PK\x03\x04|PK\x05\x06|\x1f\x8b\x08|Rar!\x1a|7z\xbc\xaf"),
    )
)


def is_of_another_kind(data: bytes, findings: Findings) -> bool:
    """Whether these bytes are no text but a file of a well-known kind; then there is a fault that says which."""
    if data.startswith(_OLD_WORKBOOK) or (data.startswith(_ARCHIVE) and any(name in data for name in _IN_A_WORKBOOK)):
        findings.fault(Place(1), "", "this is a workbook, not a CSV file", hint=_EXPORT)
        return True
    found = next((what for what, pattern in _OTHERS if pattern.match(data)), None)
    if found:
        findings.fault(Place(1), "", "this is not a manifest", found, _WRITE)
    return found is not None
