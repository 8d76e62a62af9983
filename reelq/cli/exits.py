"""The one table from what went wrong to the exit code, and the words that go with it."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from reelq import errors
from reelq.cli.interrupts import all_done

OK: Final = 0
WRONG_CALL: Final = 2
FAILED: Final = 1
WAITS: Final = 3
"""Rows wait for the user."""
INTERRUPTED: Final = 130

EXITS: Final[dict[type[errors.ReelqError], int]] = {
    errors.ManifestError: WRONG_CALL,
    errors.SettingsError: WRONG_CALL,
    errors.SkillError: WRONG_CALL,
    errors.UnknownName: WRONG_CALL,
    errors.ServiceRefused: WRONG_CALL,
    errors.ReelqError: FAILED,
}
"""The nearest ancestor of an error counts."""


def exit_of(error: errors.ReelqError) -> int:
    """The exit code that this error stands for."""
    return next(EXITS[kind] for kind in type(error).__mro__ if kind in EXITS)


@contextmanager
def exits_in_words() -> Iterator[None]:
    """End the process with words and a code, never with a traceback, for whatever a user can cause."""
    _print_anything()
    try:
        yield
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort as abort:
        if isinstance(abort.__cause__, KeyboardInterrupt):
            click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:  # past click, while something else is told
        sys.exit(INTERRUPTED)
    except errors.ReelqError as error:
        _tell(str(error), error.advice)
        sys.exit(exit_of(error))
    except OSError as error:
        _drop_output()
        _tell(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        sys.exit(FAILED)
    except Exception as error:
        if not (why := _trouble(error)):
            raise
        _tell(f"The database can't be used: {why}", "`reelq doctor` says which it is and how to mend it.")
        sys.exit(FAILED)
    finally:
        all_done()


def _trouble(error: Exception) -> str:
    """What the database says is wrong, where that is to blame; it is known only to those who have opened one."""
    session = sys.modules.get("reelq.store.session")
    if session is None or not session.is_broken(error):
        return ""
    from reelq.store.looking import trouble

    return trouble(error)


def _print_anything() -> None:
    # A manifest may hold what this terminal's encoding has no letter for, and a file's name half a character.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _tell(message: str, advice: str = "") -> None:
    # The command is over, and what click knew of NO_COLOR with it.
    click.secho(f"reelq: {message}", err=True, fg="red", color=False if os.environ.get("NO_COLOR") else None)
    if advice:
        click.echo(advice, err=True)


def _drop_output() -> None:
    # Python would try to write the rest, and complain once more, while it shuts down.
    if isinstance(sys.stdout, io.TextIOWrapper):  # None where the caller closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
