"""A row's key: the same work, for the same owner, with the same service, has the same key wherever it stands."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from reelq.errors import FileUnreadable


class Contents:
    """The hashes of files by their contents; each file is read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """The sha256 of a file's bytes, read in pieces."""
        if path not in self._known:
            try:
                with path.open("rb") as file:
                    self._known[path] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise FileUnreadable(f"{path.name} can't be read: {error.strerror}") from None
        return self._known[path]


def key_of(service: str, owner: str, contents: Sequence[str], words: Sequence[str], ordinal: int) -> str:
    """The key of the `ordinal`-th among equal rows; `contents` are hashes or URLs, `words` what is asked and how."""
    return hashlib.sha256(json.dumps([service, owner, *contents, "|", *words, ordinal]).encode()).hexdigest()


def ordinals(keys: Iterable[str]) -> list[int]:
    """For each key how many equal ones stand before it."""
    seen: Counter[str] = Counter()
    numbers = []
    for key in keys:
        numbers.append(seen[key])
        seen[key] += 1
    return numbers
