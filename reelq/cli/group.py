"""The click group. It imports a command's module when the command is called."""

import gc
from importlib import import_module
from typing import Final

import click

from reelq.cli.app import COMMANDS
from reelq.cli.interrupts import raise_on_interrupt

_LOCATIONS: Final = {
    **{name: ("reelq.cli.commands.actions", name) for name in ("cancel", "pause", "resume", "retry")},
    **{name: ("reelq.cli.commands.batches", name) for name in ("results", "status", "watch")},
    "sandbox": ("sandbox.__main__", "main"),
}
"""Module and attribute of a command; of any other it is `command` in the module of the same name."""
_HANDLE_INTERRUPTS_THEMSELVES: Final = frozenset({"run", "submit"})
"""These handle Ctrl-C themselves: checking a manifest of 100,000 rows takes a while, and starts nothing yet."""


class _LazyGroup(click.Group):
    """A group that imports each command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = load(cmd_name)
        if cmd_name not in _HANDLE_INTERRUPTS_THEMSELVES:
            raise_on_interrupt()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


def load(name: str) -> click.Command:
    """Import a command."""
    module, attribute = _LOCATIONS.get(name, (f"reelq.cli.commands.{name}", "command"))
    # Imported modules stay alive: garbage collection would take an eighth of the import time and free nothing.
    gc.disable()
    try:
        command: click.Command = getattr(import_module(module), attribute)
    except ModuleNotFoundError as missing:
        if name != "sandbox":
            raise
        raise click.ClickException(f"The sandbox needs {missing.name}: pip install 'reelq[sandbox]'") from None
    finally:
        gc.enable()
    return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reelq", message="reelq %(version)s")
def group() -> None:
    """A folder of clips and a spreadsheet in, finished videos out."""
