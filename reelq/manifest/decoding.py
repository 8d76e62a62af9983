"""A manifest's bytes into text: the encodings that spreadsheets write, told apart without asking."""

import codecs
from typing import Final

from reelq.manifest.findings import Findings, Place, line_breaks
from reelq.manifest.signatures import is_of_another_kind

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAVE_AS: Final = "In the spreadsheet choose “Save as” and “CSV UTF-8”"


def decode(data: bytes, findings: Findings) -> str | None:
    """The text; None, and a fault, where these bytes are no text that a manifest can be in."""
    if is_of_another_kind(data, findings):
        return None
    encoding, body = _encoding(data)
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        text = _chinese(body) if encoding == "utf-8" else None
        if text is None:
            _report(error, findings)
        return text


def _encoding(data: bytes) -> tuple[str, bytes]:
    """The encoding to try first, and the bytes after its mark."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding, data.removeprefix(mark)
    # A header begins with ASCII letters: in UTF-16 every other byte of them is zero.
    zeros = [byte == 0 for byte in data[:4]]
    if zeros == [False, True, False, True]:
        return "utf-16-le", data
    return ("utf-16-be" if zeros == [True, False, True, False] else "utf-8"), data


def _chinese(data: bytes) -> str | None:
    """The bytes read as GB18030; None where the outcome is not Chinese.

    GB18030 finds a character in nearly any pair of bytes, so that "Zoë" in a Western encoding would turn into Chinese
    nobody wrote. What people write lies nearly all in GB2312, its oldest part; what comes of an accident does not.
    """
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return None
    foreign = "".join(character for character in text if not character.isascii())
    usual = foreign.encode("gb2312", "ignore").decode("gb2312")
    return text if 2 * len(usual) > len(foreign) else None


def _report(error: UnicodeDecodeError, findings: Findings) -> None:
    line = 1 + line_breaks(error.object[: error.start].decode(error.encoding, "replace"))
    found = error.object[error.start : error.start + 8].hex(" ")
    findings.fault(Place(line), "", "this is not text in UTF-8, UTF-16 or GB18030", f"bytes {found}", _SAVE_AS)
