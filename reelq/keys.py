"""A row's key: the same work, for the same owner, with the same service, has the same key wherever it stands."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Keys:
    """Gives the rows of one manifest their keys, in order.

    Equal rows are told apart by how many stood before. A row of a session builds on the one before it there, so that
    one's key is a part of its own: change an earlier row, and all after it are other work.
    """

    service: str
    owner: str
    _seen: Counter[str] = field(default_factory=Counter)
    _last_in: dict[str, str] = field(default_factory=dict)

    def next(self, contents: Sequence[str], words: Sequence[str], session: str) -> str:
        """The next row's key; `contents` are hashes or URLs, `words` what is asked and how."""
        parts = [self.service, self.owner, *contents, "|", *words, session, self._last_in.get(session, "")]
        plain = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        key = hashlib.sha256(f"{plain} {self._seen[plain]}".encode()).hexdigest()
        self._seen[plain] += 1
        if session:
            self._last_in[session] = key
        return key
