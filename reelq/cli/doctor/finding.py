"""What a check comes to: fine, worth knowing or wrong, and how to mend it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from reelq.settings import Settings


class Grade(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    grade: Grade
    about: str
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at: the settings, those that can't be understood, and where results would go."""

    settings: Settings
    wrong: Mapping[str, str]
    environment: Mapping[str, str] = field(repr=False)
    out: Path


Check = Callable[[Patient], Iterable[Finding]]


def ok(about: str, what: str) -> Finding:
    """All is well."""
    return Finding(Grade.OK, about, what)


def warning(about: str, what: str, mend: str) -> Finding:
    """Work goes on, but the user should know."""
    return Finding(Grade.WARNING, about, what, mend)


def wrong(about: str, what: str, mend: str) -> Finding:
    """Work won't go on before it is mended."""
    return Finding(Grade.WRONG, about, what, mend)
