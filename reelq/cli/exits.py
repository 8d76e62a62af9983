"""The one table from what went wrong to the exit code, and the words that go with it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from reelq import errors

OK: Final = 0
WRONG_CALL: Final = 2
FAILED: Final = 1
INTERRUPTED: Final = 130

EXITS: Final[dict[type[errors.ReelqError], int]] = {
    errors.ManifestError: WRONG_CALL,
    errors.SettingsError: WRONG_CALL,
    errors.SkillError: WRONG_CALL,
    errors.ReelqError: FAILED,
}
"""The nearest ancestor of an error counts."""


def exit_of(error: errors.ReelqError) -> int:
    """The exit code that this error stands for."""
    return next(EXITS[kind] for kind in type(error).__mro__ if kind in EXITS)


@contextmanager
def exits_in_words() -> Iterator[None]:
    """End the process with words and a code, never with a traceback, for whatever a user can cause."""
    try:
        yield
    except errors.ReelqError as error:
        click.secho(f"reelq: {error}", err=True, fg="red")
        if error.advice:
            click.echo(error.advice, err=True)
        sys.exit(exit_of(error))
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does. Python would complain once more while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OK)
