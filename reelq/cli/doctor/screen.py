"""How findings are shown: a paragraph each, as wide as the terminal; a line each where there is none."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

import click

from reelq.cli.doctor.finding import Finding, Grade
from reelq.cli.doctor.variables import Variable

_COLOURS: Final = {Grade.OK: "green", Grade.WARNING: "yellow", Grade.WRONG: "red"}
_GRADE: Final = max(map(len, Grade)) + 2
_ABOUT: Final = 15
_ARROW: Final = "-> "
_ENDLESS: Final = 10_000


def show(findings: Sequence[Finding], variables: Sequence[Variable]) -> None:
    """The variables first, what was found after them: what is wrong is then what the eye meets last."""
    for variable in variables:
        _show_variable(variable)
    if variables:
        click.echo()
    for finding in findings:
        _show_finding(finding)
    click.echo(f"\n{summary(findings)}")


def summary(findings: Sequence[Finding]) -> str:
    """All in a sentence."""
    wrong = sum(finding.grade is Grade.WRONG for finding in findings)
    warnings = sum(finding.grade is Grade.WARNING for finding in findings)
    if not wrong and not warnings:
        return "Nothing is wrong."
    told = f"{wrong or 'Nothing is'} wrong"
    return f"{told}, {warnings} {'warning' if warnings == 1 else 'warnings'}."


def _show_variable(variable: Variable) -> None:
    click.echo(
        click.style(variable.name, bold=True) + f" = {variable.value}  " + click.style(f"[{variable.source}]", dim=True)
    )
    for line in _wrapped(variable.meaning, 4):
        click.secho(f"    {line}", dim=True)


def _show_finding(finding: Finding) -> None:
    lines = _wrapped(finding.what, _GRADE + _ABOUT)
    grade = click.style(f"{finding.grade:{_GRADE}}", fg=_COLOURS[finding.grade], bold=finding.grade is not Grade.OK)
    click.echo(f"{grade}{finding.about:{_ABOUT}}{next(lines, '')}")
    for line in lines:
        click.echo(f"{'':{_GRADE + _ABOUT}}{line}")
    for number, line in enumerate(_wrapped(finding.mend, _GRADE + _ABOUT + len(_ARROW))):
        click.secho(f"{'':{_GRADE + _ABOUT}}{'' if number else _ARROW:{len(_ARROW)}}{line}", fg="cyan")


def _wrapped(text: str, indent: int) -> Iterator[str]:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _ENDLESS
    # Paths and addresses stay whole: they are there to be copied.
    return iter(textwrap.wrap(text, max(columns - indent, 24), break_long_words=False, break_on_hyphens=False))
