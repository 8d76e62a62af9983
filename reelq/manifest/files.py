"""How a name in a manifest becomes facts about a file: from the local disk, or from whoever else keeps files."""

import os
import re
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from reelq import media
from reelq.manifest.columns import nearest
from reelq.manifest.findings import did_you_mean

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_GUESSES: Final = 50  # comparing a name with a whole folder is slow; a manifest of wrong names is wrong in one way
_GUESSED_AMONG: Final = 5000


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file without opening it; `problem` and `hint` say why there is none to be had."""

    name: str
    size: int | None = None
    problem: str = ""
    hint: str = ""


class Files(Protocol):
    """Whoever knows the files that a manifest names; each name is asked for once per manifest, and is never a URL."""

    def look(self, name: str) -> Facts:
        """What is known of the file of this name."""

    def seconds(self, name: str) -> float | None:
        """How long it plays, where that is known."""


class LocalFiles:
    """Files on this machine, by paths relative to the manifest's folder."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._folders: dict[Path, dict[str, str]] = {}
        self._guesses = 0

    def look(self, name: str) -> Facts:
        """What the file system says of it."""
        path = self._base / name
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return Facts(name, problem="there is no such file", hint=did_you_mean(self._meant(name)))
        except (OSError, ValueError) as error:
            return Facts(name, problem="this file can't be read", hint=_reason(error))
        if stat.S_ISDIR(status.st_mode):
            return Facts(name, problem="this is a folder, not a file", hint="A row takes one file: name it")
        if not stat.S_ISREG(status.st_mode):
            return Facts(name, problem="this is not a regular file", hint="Copy what it holds into a file")
        if not os.access(path, os.R_OK):
            return Facts(name, problem="this file can't be read", hint="Permission denied")
        return Facts(name, status.st_size)

    def seconds(self, name: str) -> float | None:
        """How long it plays, from its own header."""
        return media.duration(self._base / name)

    def _meant(self, name: str) -> str | None:
        """The path that was probably meant: another slash, another case, another spelling in the same folder."""
        path = PurePosixPath(name.replace("\\", "/"))
        near = self._near(path.name, self._names(self._base / path.parent))
        return str(path.parent / near) if near else None

    def _near(self, name: str, names: dict[str, str]) -> str | None:
        same = names.get(_folded(name))
        if same or self._guesses >= _GUESSES:
            return same
        self._guesses += 1
        near = nearest(_folded(name), list(names)[:_GUESSED_AMONG])
        return names[near] if near else None

    def _names(self, folder: Path) -> dict[str, str]:
        """The files in a folder, by their names without case."""
        if folder not in self._folders:
            try:
                names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
            except (OSError, ValueError):
                names = []
            self._folders[folder] = {_folded(name): name for name in names}
        return self._folders[folder]


def is_url(name: str) -> bool:
    """Whether a name is an address, of whatever scheme, and not a path."""
    return _URL.match(name) is not None


def url_problem(url: str) -> str:
    """Why a URL can't be fetched; empty where it can be tried."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # an impossible port raises only when it is asked for
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https"):
        return "Only http:// and https:// addresses can be fetched"
    if any(character.isspace() for character in url):
        return "Write a blank as %20"
    return "" if host else "It names no host"


def url_name(url: str) -> str:
    """The file name at the end of a URL; the host where the path ends without one."""
    parts = urlsplit(url)
    return PurePosixPath(unquote(parts.path)).name or parts.hostname or ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or "") if isinstance(error, OSError) else str(error)
