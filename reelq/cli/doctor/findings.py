"""The result of a check, ok, a warning or wrong with how to fix it, and how all results are printed."""

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import click

from reelq.settings import Settings


class Severity(StrEnum):
    """How serious a finding is. Only what is wrong prevents work until it is fixed."""

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
class Variable:
    """One environment variable as this process would use it."""

    name: str
    value: str
    source: str
    meaning: str
    is_set: bool


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What the checks look at: settings, variables that can't be parsed (`wrong`), environment, and output folder."""

    settings: Settings
    wrong: Mapping[str, str]
    environment: Mapping[str, str] = field(repr=False)
    out: Path


Check = Callable[[CheckContext], Iterable[Finding]]
_COLOURS: Final = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.WRONG: "red"}
_GRADE_WIDTH: Final = max(map(len, Severity)) + 2
_ABOUT_WIDTH: Final = 15
_INDENT: Final = _GRADE_WIDTH + _ABOUT_WIDTH
_ARROW: Final = "-> "
_UNLIMITED: Final = 10_000


def ok(about: str, what: str) -> Finding:
    return Finding(Severity.OK, about, what)


def warning(about: str, what: str, mend: str) -> Finding:
    return Finding(Severity.WARNING, about, what, mend)


def wrong(about: str, what: str, mend: str) -> Finding:
    return Finding(Severity.WRONG, about, what, mend)


def count(findings: Sequence[Finding], grade: Severity) -> int:
    return sum(finding.grade is grade for finding in findings)


def show(findings: Sequence[Finding], variables: Sequence[Variable]) -> None:
    """Print the variables, then the findings, so that what is wrong is at the end of the output."""
    for variable in variables:
        source = click.style(f"[{variable.source}]", dim=True)
        click.echo(f"{click.style(variable.name, bold=True)} = {variable.value}  {source}")
        for line in _wrapped(variable.meaning, 4):
            click.secho(f"    {line}", dim=True)
    if variables:
        click.echo()
    for finding in findings:
        _show_finding(finding)
    number_wrong, warnings = count(findings, Severity.WRONG), count(findings, Severity.WARNING)
    faults = f"{number_wrong or 'Nothing is'} wrong"
    more = f", {warnings} {'warning' if warnings == 1 else 'warnings'}" if number_wrong or warnings else ""
    click.echo(f"\n{faults}{more}.")


def _show_finding(finding: Finding) -> None:
    """Print a finding, wrapped on a terminal, each text in one line otherwise."""
    lines = _wrapped(finding.what, _INDENT)
    is_bold = finding.grade is not Severity.OK
    grade = click.style(f"{finding.grade:{_GRADE_WIDTH}}", fg=_COLOURS[finding.grade], bold=is_bold)
    click.echo(f"{grade}{finding.about:{_ABOUT_WIDTH}}{next(lines, '')}")
    for line in lines:
        click.echo(f"{'':{_INDENT}}{line}")
    for number, line in enumerate(_wrapped(finding.mend, _INDENT + len(_ARROW))):
        click.secho(f"{'':{_INDENT}}{'' if number else _ARROW:{len(_ARROW)}}{line}", fg="cyan")


def _wrapped(text: str, indent: int) -> Iterator[str]:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _UNLIMITED
    # Paths and addresses are not broken, so that they can be copied.
    return iter(textwrap.wrap(text, max(columns - indent, 24), break_long_words=False, break_on_hyphens=False))
