"""The group of all commands: each is imported when it is called, and not before."""

import gc
from importlib import import_module

import click

from reelq.cli import COMMANDS
from reelq.cli.interrupts import begin

_BEGIN_BY_THEMSELVES = frozenset({"run", "submit"})
"""They say when: a manifest of 100,000 rows is looked at for a while before anything comes of it."""


class _Lazy(click.Group):
    """A group whose commands live in modules of their own names, each as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = _imported(cmd_name)
        if cmd_name not in _BEGIN_BY_THEMSELVES:
            begin()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


def _imported(name: str) -> click.Command:
    # What is imported stays: to look for garbage in it all the while would take an eighth of the time.
    gc.disable()
    try:
        command: click.Command = import_module(f"reelq.cli.{name}").command
    finally:
        gc.enable()
    return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reelq", message="reelq %(version)s")
def group() -> None:
    """A folder of clips and a spreadsheet in, finished videos out."""
