"""`reelq doctor`: what is configured, reachable, wrong, and how to mend it. Looking changes nothing."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import click

from reelq.cli.deadline import Late, side_by_side
from reelq.cli.doctor import screen
from reelq.cli.doctor.broker import check_broker, check_flower
from reelq.cli.doctor.database import check_database
from reelq.cli.doctor.elsewhere import check_elsewhere
from reelq.cli.doctor.finding import Check, Finding, Grade, Patient, wrong
from reelq.cli.doctor.machine import check_encoder, check_folders, check_python, check_skills
from reelq.cli.doctor.service import check_service
from reelq.cli.doctor.variables import Variable, check_variables, variables
from reelq.cli.exits import FAILED, OK
from reelq.errors import ReelqError
from reelq.settings import Settings

_SECONDS: Final = 9.0
_CHECKS: Final[dict[str, Check]] = {
    "python": check_python,
    "environment": check_variables,
    "folders": check_folders,
    "database": check_database,
    "broker": check_broker,
    "flower": check_flower,
    "service": check_service,
    "reelq service": check_elsewhere,
    "skills": check_skills,
    "encoder": check_encoder,
}
"""In the order in which they are told; all look at the same time."""


@click.command("doctor")
@click.option("--all", "all_", is_flag=True, help="Explain every variable, not only those that are set.")
@click.option("--out", default=Path("reelq-out"), type=click.Path(path_type=Path), help="Where results would go.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(all_: bool, out: Path, as_json: bool) -> None:
    """Look at settings, database, broker, service and this machine; say what is wrong and how to mend it.

    Nothing is changed by looking: no file is made, and the free token is not asked for.

    \b
    Example: reelq doctor --all
    Exit code: 0 if nothing is wrong, 1 otherwise.
    """
    settings, not_understood = Settings.read_leniently()
    patient = Patient(settings, not_understood, os.environ, out)
    findings = examine(patient)
    explained = [each for each in variables(patient) if all_ or each.is_set]
    if as_json:
        click.echo(_as_json(findings, explained))
    else:
        screen.show(findings, explained)
    sys.exit(FAILED if any(finding.grade is Grade.WRONG for finding in findings) else OK)


def examine(patient: Patient) -> list[Finding]:
    """All checks at once; one that breaks, or does not end, is a finding of its own."""
    answers = side_by_side([partial(_run, check, patient) for check in _CHECKS.values()], _SECONDS)
    findings: list[Finding] = []
    for about, answer in zip(_CHECKS, answers, strict=True):
        findings += [_broken(about, answer)] if isinstance(answer, Exception) else answer
    return findings


def _run(check: Check, patient: Patient) -> list[Finding]:
    return list(check(patient))


def _broken(about: str, error: Exception) -> Finding:
    if isinstance(error, Late):
        mend = "Check the network: a name that can't be resolved or an address that swallows packets takes this long."
        return wrong(about, f"no answer within {_SECONDS:.0f} seconds", mend)
    if isinstance(error, ReelqError):
        return wrong(about, str(error), error.advice)
    what = f"it could not be looked at: {str(error) or type(error).__name__}"
    return wrong(about, what, "Correct that, and look again.")


def _as_json(findings: Sequence[Finding], explained: Sequence[Variable]) -> str:
    told = {
        "wrong": sum(finding.grade is Grade.WRONG for finding in findings),
        "warnings": sum(finding.grade is Grade.WARNING for finding in findings),
        "findings": [asdict(finding) for finding in findings],
        "variables": [asdict(variable) for variable in explained],
    }
    return json.dumps(told, indent=2, ensure_ascii=False)
