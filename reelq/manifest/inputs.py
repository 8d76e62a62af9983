"""Looks up the files that a manifest names: on the local disk, or among the uploaded files."""

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from reelq import media
from reelq.manifest.columns import nearest
from reelq.manifest.findings import did_you_mean
from reelq.storage import PREFIX

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Comparing with many names is slow, and wrong names tend to be wrong in the same way.
_MAX_SUGGESTIONS: Final = 50
_SUGGESTION_CANDIDATES: Final = 5000
_UPLOAD_HINT: Final = "Upload it: as a part of this request, or as an asset"
_ASSET_HINT: Final = "Upload it with POST /v1/assets"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file without opening it; `problem` and `hint` say why it can't be used."""

    name: str
    size: int | None = None
    problem: str = ""
    hint: str = ""


class Files(Protocol):
    """Looks up the files that a manifest names; each name is looked up once per manifest, and is never a URL."""

    def look(self, name: str) -> Facts:
        """What is known of the file with this name."""

    def seconds(self, name: str) -> float | None:
        """How long the file plays, if that is known."""


class LocalFiles:
    """Files on this machine, by paths relative to the manifest's folder."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._names_in = cache(_names_in)
        self._suggestions = 0

    def look(self, name: str) -> Facts:
        path = self._base / name
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return Facts(name, problem="there is no such file", hint=did_you_mean(self._suggest(name)))
        except (OSError, ValueError) as error:
            hint = (error.strerror or "") if isinstance(error, OSError) else str(error)
            return Facts(name, problem="this file can't be read", hint=hint)
        if stat.S_ISDIR(status.st_mode):
            return Facts(name, problem="this is a folder, not a file", hint="A row takes a single file: name that file")
        if not stat.S_ISREG(status.st_mode):
            return Facts(name, problem="this is not a regular file", hint="Copy its content into a file")
        if not os.access(path, os.R_OK):
            return Facts(name, problem="this file can't be read", hint="Permission denied")
        return Facts(name, status.st_size)

    def seconds(self, name: str) -> float | None:
        """How long the file plays, from its own header."""
        return media.duration(self._base / name)

    def _suggest(self, name: str) -> str | None:
        """The path that was probably meant: other slashes, another case, or a similar name in the same folder."""
        path = PurePosixPath(name.replace("\\", "/"))
        names, folded = self._names_in(self._base / path.parent), _folded(path.name)
        if folded not in names and self._suggestions < _MAX_SUGGESTIONS:
            self._suggestions += 1
            folded = nearest(folded, list(names)[:_SUGGESTION_CANDIDATES]) or folded
        return str(path.parent / names[folded]) if folded in names else None


def _names_in(folder: Path) -> dict[str, str]:
    """The files in a folder, by their case-folded names."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except (OSError, ValueError):
        names = []
    return {_folded(name): name for name in names}


def is_url(name: str) -> bool:
    """Whether a name is a URL, with any scheme, and not a path."""
    return _URL.match(name) is not None


def url_problem(url: str) -> str:
    """Why a URL can't be fetched; empty if it can be tried."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # an invalid port raises only when it is read
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https"):
        return "Only http:// and https:// addresses can be fetched"
    if any(character.isspace() for character in url):
        return "Write a space as %20"
    return "" if host else "It has no host"


def url_name(url: str) -> str:
    """The file name at the end of a URL; its host if the path names no file."""
    parts = urlsplit(url)
    return PurePosixPath(unquote(parts.path)).name or parts.hostname or ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that was uploaded over HTTP."""

    sha256: str
    size: int
    name: str
    """Its name when it was uploaded."""
    path: Callable[[], Path]
    """Returns where it can be read on this machine."""


class UploadedFiles:
    """Uploaded files. A manifest names one as it was uploaded, with or without folders; or an asset, as `sha256:…`."""

    def __init__(self, given: Mapping[str, UploadedFile | None], contents: Mapping[str, UploadedFile]) -> None:
        """`given` maps names in the manifest to uploads, `contents` maps `sha256:…` to the owner's assets.

        A name maps to None if the asset that it stands for was not uploaded.
        """
        self._given = given
        self._contents = contents
        self._base_name_counts = Counter(_base_name(name) for name in given)
        self._by_base_name = {_base_name(name): name for name in given}
        self._used_base_names: dict[str, str] = {}
        self._suggestions = 0
        self._found: dict[str, UploadedFile] = {}
        self.inputs: dict[str, str] = {}
        """The content hash of each name that was found."""

    def look(self, name: str) -> Facts:
        exact = self._given.get(name) or self._contents.get(name)
        if problem := self._problem(name, _base_name(name), exact):
            return Facts(name, problem=problem[0], hint=problem[1])
        found = exact if exact or name in self._given else self._given[self._by_base_name[_base_name(name)]]
        if found is None:
            return Facts(name, problem="the asset with this name has not been uploaded", hint=_ASSET_HINT)
        self.inputs[name] = found.sha256
        self._found[name] = found
        # If its name in the manifest has a known extension, that is its type and must match.
        expected, uploaded = media.kind_of(name), media.kind_of(found.name)
        if expected is not None and uploaded is not None and expected is not uploaded:
            hint = f"It was uploaded as {found.name}"
            return Facts(name, problem="this file's type does not match its name", hint=hint)
        return Facts(found.name if expected is None else name, found.size)

    def seconds(self, name: str) -> float | None:
        """How long the file plays, from its own header."""
        found = self._found[name]
        return media.duration(found.path(), found.name)

    def _problem(self, name: str, base_name: str, exact: UploadedFile | None) -> tuple[str, str] | None:
        """Why a name stands for no file, or for more than one, and what to do; None if it stands for one."""
        if exact is not None or name in self._given:
            other = self._used_base_names.get(base_name)
            return _ambiguous(other) if other and self._by_base_name[base_name] == name else None
        if is_a_path(name):
            return "this is a path; no file is read from the service's disk", f"{_UPLOAD_HINT}, and name it as uploaded"
        if name.startswith(PREFIX):
            return "you have not uploaded this asset", _ASSET_HINT
        if not self._base_name_counts[base_name]:
            self._suggestions += 1
            close = nearest(name, list(self._given)) if self._suggestions <= _MAX_SUGGESTIONS else None
            return "no file was uploaded under this name", f"{did_you_mean(close)} {_UPLOAD_HINT}".lstrip()
        match, other = self._by_base_name[base_name], self._used_base_names.setdefault(base_name, name)
        if self._base_name_counts[base_name] > 1 or other != name or match in self.inputs:
            return _ambiguous(match if other == name else other)
        return None


def _ambiguous(other: str) -> tuple[str, str]:
    hint = f"It may also mean {other}; upload each file under its own name"
    return "it is unclear which uploaded file this name refers to", hint


def is_a_path(name: str) -> bool:
    """Whether a name is a path, on any system, rather than a plain name."""
    return name.startswith(("/", "~/")) or "\\" in name or "\0" in name or ".." in name.split("/") or name[1:2] == ":"


def _base_name(name: str) -> str:
    return name.rpartition("/")[2]
