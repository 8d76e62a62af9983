"""The files of a manifest that came over HTTP: what came with it or before it, and never a path on this machine."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reelq import media
from reelq.manifest.columns import nearest
from reelq.manifest.files import Facts
from reelq.manifest.findings import did_you_mean
from reelq.storage import PREFIX

_UPLOAD: Final = "Upload it: as a part of this request, or as an asset"
_ASSET: Final = "POST /v1/assets takes it"
_GUESSES: Final = 50  # comparing a name with many is slow; a manifest of wrong names is wrong in one way


@dataclass(frozen=True, slots=True)
class Given:
    """A file that came over HTTP."""

    sha256: str
    size: int
    name: str
    """What it was called when it came."""
    path: Callable[[], Path]
    """Where it can be read on this machine."""


class UploadedFiles:
    """A name is one under which a file came, exactly or without its folders; or a content, as `sha256:…`."""

    def __init__(self, given: Mapping[str, Given | None], contents: Mapping[str, Given]) -> None:
        """`given` are files by the names that the manifest has for them, `contents` the owner's by `sha256:…`.

        None stands for a content that a name is said to be, and that was not uploaded.
        """
        self._given = given
        self._contents = contents
        self._ends = Counter(_last(name) for name in given)
        self._by_end = {_last(name): name for name in given}
        self._without_folders: dict[str, str] = {}
        self._guesses = 0
        self._found: dict[str, Given] = {}
        self.inputs: dict[str, str] = {}
        """The content behind each name that was found."""

    def look(self, name: str) -> Facts:
        """What came under this name."""
        exact = self._given.get(name) or self._contents.get(name)
        wrong = self._wrong(name, _last(name), exact)
        if wrong:
            return Facts(name, problem=wrong[0], hint=wrong[1])
        found = exact if exact or name in self._given else self._given[self._by_end[_last(name)]]
        if found is None:
            return Facts(name, problem="the asset that this name stands for is not uploaded", hint=_ASSET)
        self.inputs[name] = found.sha256
        self._found[name] = found
        return _facts(name, found)

    def seconds(self, name: str) -> float | None:
        """How long it plays, from its own header."""
        found = self._found[name]
        return media.duration(found.path(), found.name)

    def _wrong(self, name: str, end: str, exact: Given | None) -> tuple[str, str] | None:
        """Why a name stands for no file, or for none for certain, and what to do; None where it stands for one."""
        if exact is not None or name in self._given:
            other = self._without_folders.get(end)
            return _doubtful(other) if other and self._by_end[end] == name else None
        if is_a_path(name):
            return "this is a path; no file is read from the service's disk", f"{_UPLOAD}, and name it as uploaded"
        if name.startswith(PREFIX):
            return "you have uploaded no such asset", _ASSET
        if not self._ends[end]:
            return "no file was uploaded under this name", f"{did_you_mean(self._near(name))} {_UPLOAD}".lstrip()
        meant, other = self._by_end[end], self._without_folders.setdefault(end, name)
        if self._ends[end] > 1 or other != name or meant in self.inputs:
            return _doubtful(meant if other == name else other)
        return None

    def _near(self, name: str) -> str | None:
        self._guesses += 1
        return nearest(name, list(self._given)) if self._guesses <= _GUESSES else None


def _facts(name: str, found: Given) -> Facts:
    """By the manifest's word for it, where that says what it is; then it has to be what came."""
    kind, came = media.kind_of(name), media.kind_of(found.name)
    if kind is None:
        return Facts(found.name, found.size)
    if came is not None and kind is not came:
        return Facts(name, problem="this is not what its name says", hint=f"It was uploaded as {found.name}")
    return Facts(name, found.size)


def _doubtful(other: str) -> tuple[str, str]:
    return "which uploaded file is meant can't be told", f"{other} may be meant as well; upload each under its own name"


def is_a_path(name: str) -> bool:
    """Whether a name leads somewhere, on any system, rather than naming something."""
    return name.startswith(("/", "~/")) or "\\" in name or "\0" in name or ".." in name.split("/") or name[1:2] == ":"


def _last(name: str) -> str:
    return name.rpartition("/")[2]
