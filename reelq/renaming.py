"""Gives finished files their new names, when a manifest was changed in nothing but where its results go."""

import logging
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

Change = tuple[Path, Path]
"""A file's name as it is, and as it shall be."""


def rename(changes: Sequence[Change]) -> None:
    """Rename all of them; in two steps, as one's new name can be another's old one. No other file is overwritten.

    What can't be renamed stays under its old name; its row's result counts as gone, and is brought again for nothing.
    """
    aside = [(_renamed(old, new.with_name(f"{new.name}.moved")), old, new) for old, new in changes]
    for at, old, new in aside:
        if at and not (not new.exists() and _renamed(at, new)):
            _renamed(at, old)


def _renamed(old: Path, new: Path) -> Path | None:
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        return old.rename(new)
    except OSError as error:
        log.warning("%s can't be renamed to %s: %s", old, new.name, error.strerror)
        return None
