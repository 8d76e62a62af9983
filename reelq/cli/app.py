"""The entry point of `reelq`, and its commands. Handles Ctrl-C before it imports anything else."""

import os
import sys
from typing import Final

from reelq.cli.interrupts import exit_on_interrupt

COMMANDS: Final = {
    "cancel": "Cancel a batch or a single row.",
    "check": "Check a manifest without running it.",
    "credits": "Show the credit balance and spending.",
    "db": "Show the database version; `db upgrade` migrates it.",
    "doctor": "Check configuration and connectivity, and suggest fixes.",
    "keys": "Create, list and revoke API keys.",
    "pause": "Pause a batch: running stages finish, no new ones start.",
    "refine": "Send the agent another instruction for a row.",
    "results": "Print or write the result manifest of a batch.",
    "resume": "Resume rows that wait for you, and lift a batch's limits.",
    "retry": "Retry the failed rows of a batch, or a single row.",
    "run": "Run a manifest and collect the finished videos.",
    "sandbox": "Run a local simulation of the service.",
    "show": "Show the history of a row.",
    "skills": "List the skills that rows can use, or print the guide of one.",
    "status": "List batches, or show the state of one.",
    "submit": "Submit a manifest to the queue and return.",
    "up": "Run the REST service, workers and Flower on this machine.",
    "watch": "Follow the progress of a batch.",
}
"""Each command with its line in `reelq --help`. Modules are imported only when called, which keeps `--help` fast."""


def main() -> None:
    """Run the console script."""
    exit_on_interrupt()
    # The remaining imports take half a second, and Ctrl-C has to work during them too.
    from reelq.cli.errors import exit_with_message
    from reelq.cli.group import group

    with exit_with_message():
        # Left to itself, click exits with 1 on an interrupt and bypasses our table of exit codes.
        sys.exit(group.main(standalone_mode=False, color=False if os.environ.get("NO_COLOR") else None))
