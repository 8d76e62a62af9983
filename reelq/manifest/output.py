"""The names of result files: the user's own, made safe to write anywhere, and the default ones."""

import re
import unicodedata
from typing import Final

RESULTS: Final = "results.csv"
"""The list of results; no row may overwrite it or create a folder with its name."""
_EXTENSION: Final = ".mp4"
_ILLEGAL: Final = re.compile(r'[<>:"|?*]')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|\Z)", re.IGNORECASE)
_UNSAFE: Final = re.compile(r"[^\w.-]+|_{2,}")
_PART_BYTES: Final = 240  # most systems allow 255 for a file name, and a download adds its own suffix
_PATH_BYTES: Final = 1000
_STEM_BYTES: Final = 60


def normalise(name: str) -> str:
    """A user's output with forward slashes and no empty parts: `a//./b.mp4` becomes `a/b.mp4`."""
    parts = name.replace("\\", "/").split("/")
    joined = "/".join(part for part in parts if part not in ("", "."))
    return unicodedata.normalize("NFC", joined)


def problem(name: str) -> tuple[str, str]:
    """What is wrong with a user's output, and how to fix it; two empty texts if nothing is.

    The rules of all systems apply, since a manifest may run on any of them.
    """
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", name):
        return "this output is outside the output folder", "Write a path below it, such as beach/cut.mp4"
    if not parts[-1].lower().endswith(_EXTENSION) or parts[-1].lower() == _EXTENSION:
        return "this output is not an .mp4 file", "Results are MP4 files: end the name in .mp4"
    if any(_unwritable(part) for part in parts):
        return "this output can't be written on every system", 'Avoid < > : " | ? *, names like CON, a dot at the end'
    if len(name.encode()) > _PATH_BYTES or any(len(part.encode()) > _PART_BYTES for part in parts):
        return "this output is too long", f"At most {_PART_BYTES} bytes per name, {_PATH_BYTES} in total"
    is_results = next(part for part in parts if part not in ("", ".")).casefold() == RESULTS
    return ("this output is the list of results", "Choose another name") if is_results else ("", "")


def default(number: int, source: str) -> str:
    """The default name of a row's result: after its file, or else its instruction."""
    name = unicodedata.normalize("NFC", source)
    stem = _UNSAFE.sub("-", name).strip("-._")
    short = stem.encode()[:_STEM_BYTES].decode(errors="ignore").strip("-._")
    return f"{number}-{short or 'video'}{_EXTENSION}"


def collision_key(name: str) -> str:
    """A key that is equal for two names that are one file on some system."""
    return unicodedata.normalize("NFC", name).casefold()


def _unwritable(part: str) -> bool:
    return bool(_ILLEGAL.search(part) or _RESERVED.match(part)) or (part != "." and part.endswith((".", " ")))
