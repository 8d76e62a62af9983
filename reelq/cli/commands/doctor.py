"""`reelq doctor`: checks configuration and connectivity, and suggests fixes. Changes nothing."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import click

from reelq.cli.doctor import report
from reelq.cli.doctor.finding import Check, CheckContext, Finding, Severity, wrong
from reelq.cli.doctor.local import (
    Variable,
    check_database,
    check_encoder,
    check_folders,
    check_python,
    check_skills,
    check_variables,
    variables,
)
from reelq.cli.doctor.network import check_broker, check_flower, check_nemo, check_reelq_service
from reelq.cli.errors import FAILED, OK
from reelq.cli.estimate import TimedOut, call_in_parallel
from reelq.errors import ReelqError
from reelq.settings import Settings

_TIMEOUT_SECONDS: Final = 9.0
_CHECKS: Final[dict[str, Check]] = {
    "python": check_python,
    "environment": check_variables,
    "folders": check_folders,
    "database": check_database,
    "broker": check_broker,
    "flower": check_flower,
    "service": check_nemo,
    "reelq service": check_reelq_service,
    "skills": check_skills,
    "encoder": check_encoder,
}
"""The checks, in the order in which they are shown. They run in parallel."""


@click.command("doctor")
@click.option("--all", "all_", is_flag=True, help="Explain every variable, not only those that are set.")
@click.option("--out", default=Path("reelq-out"), type=click.Path(path_type=Path), help="Output folder to check.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(all_: bool, out: Path, as_json: bool) -> None:
    """Check settings, database, broker, service and this machine, and suggest fixes.

    Nothing is changed: no files are created, and no free token is requested.

    \b
    Example: reelq doctor --all
    Exit code: 0 if nothing is wrong, 1 otherwise.
    """
    settings, invalid = Settings.read_leniently()
    patient = CheckContext(settings, invalid, os.environ, out)
    findings = examine(patient)
    shown = [variable for variable in variables(patient) if all_ or variable.is_set]
    if as_json:
        click.echo(_as_json(findings, shown))
    else:
        report.show(findings, shown)
    sys.exit(FAILED if any(finding.grade is Severity.WRONG for finding in findings) else OK)


def examine(patient: CheckContext) -> list[Finding]:
    """Run all checks in parallel. A check that raises, or does not end in time, becomes a finding of its own."""
    answers = call_in_parallel([partial(_run, check, patient) for check in _CHECKS.values()], _TIMEOUT_SECONDS)
    findings: list[Finding] = []
    for about, answer in zip(_CHECKS, answers, strict=True):
        findings += [_broken(about, answer)] if isinstance(answer, Exception) else answer
    return findings


def _run(check: Check, patient: CheckContext) -> list[Finding]:
    return list(check(patient))


def _broken(about: str, error: Exception) -> Finding:
    if isinstance(error, TimedOut):
        advice = "Check the network: DNS timeouts and dropped packets take this long."
        return wrong(about, f"no answer within {_TIMEOUT_SECONDS:.0f} seconds", advice)
    if isinstance(error, ReelqError):
        return wrong(about, str(error), error.advice)
    what = f"the check failed: {str(error) or type(error).__name__}"
    return wrong(about, what, "Fix that and run `reelq doctor` again.")


def _as_json(findings: Sequence[Finding], shown: Sequence[Variable]) -> str:
    data = {
        "wrong": sum(finding.grade is Severity.WRONG for finding in findings),
        "warnings": sum(finding.grade is Severity.WARNING for finding in findings),
        "findings": [asdict(finding) for finding in findings],
        "variables": [asdict(variable) for variable in shown],
    }
    return json.dumps(data, indent=2, ensure_ascii=False)
