"""`reelq check`: everything that is wrong with a manifest, at once, the way a compiler tells it; and its cost."""

import sys
from collections import Counter
from pathlib import Path
from typing import Final

import click

from reelq import manifest, skills
from reelq.cli.asking import Funds, funds
from reelq.cli.exits import OK, WRONG_CALL
from reelq.errors import Fault
from reelq.settings import Settings
from reelq.store.estimates import Estimate, estimate_rows

_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) != "\t"}
"""A terminal would obey them; spelt out, they can be seen."""


@click.command("check")
@click.argument("path", metavar="MANIFEST", type=click.Path(path_type=Path))
@click.option("--skill", default=manifest.DEFAULT_SKILL, show_default=True, help="The skill of rows that name none.")
def command(path: Path, skill: str) -> None:
    """Check MANIFEST without running it: every fault and every warning, with line and column; and what it would cost.

    The cost is reckoned from what the account has paid so far, else from what is usual, and for all rows.

    \b
    Example: reelq check jobs.csv
    Exit code: 0 if it can run, 2 if it can't.
    """
    settings = Settings.read()
    known = skills.load([settings.reelq_data_dir / "skills"])
    known.named(skill)  # which is refused, if at all, before the manifest is read
    for note in known.notes:
        click.echo(note, err=True)
    checked = manifest.check_file(path, skills=known, default_skill=skill)
    faults = set(checked.faults)  # there may be as many as rows
    for fault in sorted((*checked.faults, *checked.warnings)):
        _show(path, fault, is_fault=fault in faults)
    _sum_up(checked)
    if not checked.faults:
        there = funds(settings)
        click.echo(in_words(estimate_rows(checked.rows, highest=there.highest), there))
    sys.exit(WRONG_CALL if checked.faults else OK)


def _show(path: Path, fault: Fault, *, is_fault: bool) -> None:
    kind = click.style("fault", fg="red", bold=True) if is_fault else click.style("warning", fg="yellow", bold=True)
    where = f"{path}:" + (f"{fault.line}:" if fault.line else "") + (f" {fault.column}:" if fault.column else "")
    click.echo(f"{where.translate(_CONTROLS)} {kind}: {fault.message}")
    for line in fault.value.splitlines():
        click.echo(f"    {line.translate(_CONTROLS)}")
    if fault.hint:
        click.secho(f"    {fault.hint.translate(_CONTROLS)}", dim=True)


def _sum_up(checked: manifest.Checked) -> None:
    if checked.faults:
        click.echo(f"{_many(len(checked.faults), 'fault')}, {_many(len(checked.warnings), 'warning')}: it can't run.")
        return
    routes = ", ".join(f"{count} {route}" for route, count in Counter(row.route for row in checked.rows).items())
    click.echo(f"{_many(len(checked.rows), 'row')} ({routes}), {_many(len(checked.warnings), 'warning')}: it can run.")


def in_words(cost: Estimate, there: Funds) -> str:
    """What it would cost, beside what there is."""
    if not cost.sends:
        return "No credits: nothing is sent to the agent."
    basis = "at the most that one has cost yet" if cost.seen else "at what is usual"
    about = f"About {_many(cost.credits, 'credit')} for {_many(cost.sends, 'instruction')}, {basis}"
    if there.available is None:
        return f"{about}; the balance is not known yet (`reelq credits` asks for it)."
    when = f" (as of {there.read_at.astimezone():%Y-%m-%d %H:%M})" if there.read_at else ""
    short = cost.credits - there.available
    return f"{about}; balance {there.available:,}{when}" + (f", {short:,} short." if short > 0 else ".")


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
