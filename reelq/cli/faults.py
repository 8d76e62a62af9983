"""A manifest's faults and warnings as a compiler tells them: where, what, the cell itself, and how to mend it."""

from pathlib import Path
from typing import Final

import click

from reelq import manifest
from reelq.errors import Fault

_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) != "\t"}
"""A terminal would obey them; spelt out, they can be seen."""


def show_findings(path: Path, checked: manifest.Checked, *, err: bool = False) -> None:
    """Every fault and every warning, in the order of the manifest's lines."""
    faults = set(checked.faults)  # there may be as many as rows
    for fault in sorted((*checked.faults, *checked.warnings)):
        _show(path, fault, is_fault=fault in faults, err=err)


def _show(path: Path, fault: Fault, *, is_fault: bool, err: bool) -> None:
    kind = click.style("fault", fg="red", bold=True) if is_fault else click.style("warning", fg="yellow", bold=True)
    where = f"{path}:" + (f"{fault.line}:" if fault.line else "") + (f" {fault.column}:" if fault.column else "")
    click.echo(f"{where.translate(_CONTROLS)} {kind}: {fault.message}", err=err)
    for line in fault.value.splitlines():
        click.echo(f"    {line.translate(_CONTROLS)}", err=err)
    if fault.hint:
        click.secho(f"    {fault.hint.translate(_CONTROLS)}", dim=True, err=err)
