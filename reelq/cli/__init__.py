"""The command line: each command parses, calls one function of the spine, and prints."""

import os
import sys
from typing import Final

from reelq.cli.interrupts import nothing_begun

COMMANDS: Final = {
    "cancel": "End what has not ended, of a batch or one row.",
    "check": "Check a manifest; nothing is run, nothing is spent.",
    "credits": "Show the balance, and what was spent on what.",
    "db": "Show the database's version; `db upgrade` brings it to the newest.",
    "doctor": "Say what is configured, reachable or wrong, and how to mend it.",
    "keys": "Make, list and revoke keys to the REST service.",
    "pause": "Let no stage of a batch begin until it is resumed.",
    "refine": "Tell the agent more about a row, or answer it.",
    "results": "Print or write the result manifest of a batch.",
    "resume": "Let go on what waits for you; lift a batch's limits.",
    "retry": "Queue again what failed, of a batch or one row.",
    "run": "Run a manifest: its rows in, finished videos out.",
    "sandbox": "Run a stand-in for the service on this machine.",
    "show": "Tell one row's whole story.",
    "skills": "Show the skills that a row can ask for.",
    "status": "List the batches, or say how one stands.",
    "submit": "Hand a manifest to the queue, and return.",
    "up": "Run the REST service, workers and Flower together on this machine.",
    "watch": "Watch a batch while it is worked on.",
}
"""Each command, with its line in the help. Its module is imported only when it is called: `--help` stays quick."""


def main() -> None:
    """The console script."""
    nothing_begun()
    # The rest takes half a second to import, and a Ctrl-C meanwhile is to be heard as well.
    from reelq.cli.exits import exits_in_words
    from reelq.cli.group import group

    with exits_in_words():
        # Click would end an interrupted command with 1, and leave the table of exit codes out of it.
        sys.exit(group.main(standalone_mode=False, color=False if os.environ.get("NO_COLOR") else None))
