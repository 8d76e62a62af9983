"""`reelq doctor`: checks configuration and connectivity, and suggests fixes. Changes nothing."""

import json
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import click

from reelq.cli.doctor import local, network
from reelq.cli.doctor.findings import Check, CheckContext, Finding, Severity, count, show, wrong
from reelq.cli.errors import FAILED, OK
from reelq.cli.estimate import TimedOut, call_in_parallel
from reelq.errors import ReelqError
from reelq.settings import Settings

_TIMEOUT_SECONDS: Final = 9.0
_CHECKS: Final[dict[str, Check]] = {
    "python": local.check_python,
    "environment": local.check_variables,
    "folders": local.check_folders,
    "database": local.check_database,
    "broker": network.check_broker,
    "flower": network.check_flower,
    "service": network.check_nemo,
    "reelq service": network.check_reelq_service,
    "skills": local.check_skills,
    "encoder": local.check_encoder,
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
    context = CheckContext(settings, invalid, os.environ, out)
    findings = _run_checks(context)
    number_wrong = count(findings, Severity.WRONG)
    shown = [variable for variable in local.variables(context) if all_ or variable.is_set]
    if as_json:
        data = {
            "wrong": number_wrong,
            "warnings": count(findings, Severity.WARNING),
            "findings": [asdict(finding) for finding in findings],
            "variables": [asdict(variable) for variable in shown],
        }
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        show(findings, shown)
    sys.exit(FAILED if number_wrong else OK)


def _run_checks(context: CheckContext) -> list[Finding]:
    """Run all checks in parallel. A check that raises, or does not end in time, becomes a finding of its own."""

    def run(check: Check) -> list[Finding]:
        return list(check(context))

    answers = call_in_parallel([partial(run, check) for check in _CHECKS.values()], _TIMEOUT_SECONDS)
    findings: list[Finding] = []
    for about, answer in zip(_CHECKS, answers, strict=True):
        findings += [_broken(about, answer)] if isinstance(answer, Exception) else answer
    return findings


def _broken(about: str, error: Exception) -> Finding:
    if isinstance(error, TimedOut):
        advice = "Check the network: DNS timeouts and dropped packets take this long."
        return wrong(about, f"no answer within {_TIMEOUT_SECONDS:.0f} seconds", advice)
    if isinstance(error, ReelqError):
        return wrong(about, str(error), error.advice)
    what = f"the check failed: {str(error) or type(error).__name__}"
    return wrong(about, what, "Fix that and run `reelq doctor` again.")
