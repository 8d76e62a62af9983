"""The command line: each command parses, calls one function of the spine, and prints."""

import sys
from importlib import import_module
from typing import Final

import click

from reelq.cli.exits import exits_in_words

COMMANDS: Final = {
    "check": "Check a manifest; nothing is run, nothing is spent.",
    "sandbox": "Run a stand-in for the service on this machine.",
    "skills": "Show the skills that a row can ask for.",
}
"""Each command, with its line in the help. Its module is imported only when it is called: `--help` stays quick."""


class _Lazy(click.Group):
    """A group whose commands live in modules of their own names, each as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"reelq.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reelq", message="reelq %(version)s")
def group() -> None:
    """A folder of clips and a spreadsheet in, finished videos out."""


def main() -> None:
    """The console script."""
    with exits_in_words():
        # Click would end an interrupted command with 1, and leave the table of exit codes out of it.
        sys.exit(group.main(standalone_mode=False))
