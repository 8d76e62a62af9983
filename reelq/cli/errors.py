"""Exit codes and error messages: one table from an exception to its code."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from reelq import errors
from reelq.cli.interrupts import restore_default

OK: Final = 0
USAGE_ERROR: Final = 2
FAILED: Final = 1
WAITING: Final = 3
"""Some rows wait for the user."""
INTERRUPTED: Final = 130
EXIT_CODES: Final[dict[type[errors.ReelqError], int]] = {
    errors.ManifestError: USAGE_ERROR,
    errors.SettingsError: USAGE_ERROR,
    errors.SkillError: USAGE_ERROR,
    errors.UnknownName: USAGE_ERROR,
    errors.ServiceRefused: USAGE_ERROR,
    errors.ReelqError: FAILED,
}
"""An error has the exit code of its nearest ancestor in this table."""


def exit_code(error: errors.ReelqError) -> int:
    """The exit code of an error."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


@contextmanager
def exit_with_message() -> Iterator[None]:
    """Exit with a message and an exit code, never a traceback, on any error that a user can cause."""
    _escape_unencodable()
    try:
        yield
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort as abort:
        if isinstance(abort.__cause__, KeyboardInterrupt):
            click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:  # outside of click, for example while another error is printed
        sys.exit(INTERRUPTED)
    except errors.ReelqError as error:
        _print_error(str(error), error.advice)
        sys.exit(exit_code(error))
    except OSError as error:
        _discard_output()
        _print_error(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        sys.exit(FAILED)
    except Exception as error:
        if not (message := _database_message(error)):
            raise
        advice = "Run `reelq doctor` to see which database it is and how to fix it."
        _print_error(f"The database can't be used: {message}", advice)
        sys.exit(FAILED)
    finally:
        restore_default()


def _database_message(error: Exception) -> str:
    """The database's message if it caused the error, else an empty string.

    The engine is looked up, not imported: only a command that has imported it can have such an error.
    """
    engine = sys.modules.get("reelq.store.db.engine")
    if engine is None or not engine.is_broken(error):
        return ""
    from reelq.store.db.readonly import database_message

    return database_message(error)


def _escape_unencodable() -> None:
    # A manifest may contain characters that the terminal's encoding lacks, and a file name undecodable bytes.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    # Otherwise Python tries to flush stdout at exit, and reports the error a second time.
    if isinstance(sys.stdout, io.TextIOWrapper):  # it is None if the caller closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(message: str, advice: str = "") -> None:
    # The command has ended, and with it the click context that knew about NO_COLOR.
    click.secho(f"reelq: {message}", err=True, fg="red", color=False if os.environ.get("NO_COLOR") else None)
    if advice:
        click.echo(advice, err=True)
