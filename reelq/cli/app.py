"""The entry point of `reelq`, and its commands. Handles Ctrl-C before it imports anything else."""

import os
import sys
from typing import Final

from reelq.cli.interrupts import exit_on_interrupt

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
"""Each command with its line in `reelq --help`. Modules are imported only when called, which keeps `--help` fast."""


def main() -> None:
    """Run the console script."""
    exit_on_interrupt()
    # The remaining imports take half a second, and Ctrl-C has to work during them too.
    from reelq.cli.errors import exit_with_message as exits_in_words
    from reelq.cli.group import group

    with exits_in_words():
        # Left to itself, click exits with 1 on an interrupt and bypasses our table of exit codes.
        sys.exit(group.main(standalone_mode=False, color=False if os.environ.get("NO_COLOR") else None))
