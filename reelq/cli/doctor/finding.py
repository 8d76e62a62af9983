"""The result of a check: ok, a warning or wrong, and how to fix it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from reelq.settings import Settings


class Severity(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for one thing that was checked."""

    grade: Severity
    about: str
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What the checks look at: settings, variables that can't be parsed (`wrong`), environment, and output folder."""

    settings: Settings
    wrong: Mapping[str, str]
    environment: Mapping[str, str] = field(repr=False)
    out: Path


Check = Callable[[CheckContext], Iterable[Finding]]


def ok(about: str, what: str) -> Finding:
    """A finding that all is well."""
    return Finding(Severity.OK, about, what)


def warning(about: str, what: str, mend: str) -> Finding:
    """A finding that the user should know about; work continues."""
    return Finding(Severity.WARNING, about, what, mend)


def wrong(about: str, what: str, mend: str) -> Finding:
    """A finding that prevents work until it is fixed."""
    return Finding(Severity.WRONG, about, what, mend)
