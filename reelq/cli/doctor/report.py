"""Prints findings: wrapped on a terminal, one line each otherwise."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

import click

from reelq.cli.doctor.finding import Finding, Severity
from reelq.cli.doctor.local import Variable

_COLOURS: Final = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.WRONG: "red"}
_GRADE_WIDTH: Final = max(map(len, Severity)) + 2
_ABOUT_WIDTH: Final = 15
_ARROW: Final = "-> "
_UNLIMITED: Final = 10_000


def show(findings: Sequence[Finding], variables: Sequence[Variable]) -> None:
    """Print the variables, then the findings, so that what is wrong is at the end of the output."""
    for variable in variables:
        _show_variable(variable)
    if variables:
        click.echo()
    for finding in findings:
        _show_finding(finding)
    click.echo(f"\n{summary(findings)}")


def summary(findings: Sequence[Finding]) -> str:
    """Sum up all findings in a sentence."""
    wrong = sum(finding.grade is Severity.WRONG for finding in findings)
    warnings = sum(finding.grade is Severity.WARNING for finding in findings)
    if not wrong and not warnings:
        return "Nothing is wrong."
    faults = f"{wrong or 'Nothing is'} wrong"
    return f"{faults}, {warnings} {'warning' if warnings == 1 else 'warnings'}."


def _show_variable(variable: Variable) -> None:
    click.echo(
        click.style(variable.name, bold=True) + f" = {variable.value}  " + click.style(f"[{variable.source}]", dim=True)
    )
    for line in _wrapped(variable.meaning, 4):
        click.secho(f"    {line}", dim=True)


def _show_finding(finding: Finding) -> None:
    lines = _wrapped(finding.what, _GRADE_WIDTH + _ABOUT_WIDTH)
    grade = click.style(
        f"{finding.grade:{_GRADE_WIDTH}}", fg=_COLOURS[finding.grade], bold=finding.grade is not Severity.OK
    )
    click.echo(f"{grade}{finding.about:{_ABOUT_WIDTH}}{next(lines, '')}")
    for line in lines:
        click.echo(f"{'':{_GRADE_WIDTH + _ABOUT_WIDTH}}{line}")
    for number, line in enumerate(_wrapped(finding.mend, _GRADE_WIDTH + _ABOUT_WIDTH + len(_ARROW))):
        click.secho(f"{'':{_GRADE_WIDTH + _ABOUT_WIDTH}}{'' if number else _ARROW:{len(_ARROW)}}{line}", fg="cyan")


def _wrapped(text: str, indent: int) -> Iterator[str]:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _UNLIMITED
    # Paths and addresses are not broken, so that they can be copied.
    return iter(textwrap.wrap(text, max(columns - indent, 24), break_long_words=False, break_on_hyphens=False))
