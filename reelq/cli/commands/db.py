"""`reelq db`: shows where the database is and which version it has, and upgrades it."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import click

from reelq.cli.errors import FAILED, OK
from reelq.cli.interrupts import delay_interrupt
from reelq.errors import SettingsError
from reelq.settings import Settings
from reelq.store.db import migrations
from reelq.store.db.engine import Store, database_url
from reelq.store.db.readonly import database_message, open_read_only, safe_address

_ADVICE = "Is it running, and is REELQ_DATABASE_URL correct? Run `reelq doctor` to check both."


@click.group("db", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Show where the database is and whether its schema is current.

    \b
    Example: reelq db upgrade
    Exit code: 0 if it is usable, 1 if it needs an upgrade or can't be reached.
    """
    if context.invoked_subcommand is None:
        sys.exit(_show())


@command.command("upgrade")
def upgrade() -> None:
    """Migrate the database to the newest version. No data is lost, and several machines may run it at once.

    \b
    Example: reelq db upgrade
    """
    with _database_errors(), closing(Store(database_url(Settings.read()))) as store:
        before, newest = migrations.revision(store), migrations.newest()
        if before == newest:
            click.echo(f"{safe_address(store.url)} is already at version {newest}.")
            return
        with delay_interrupt():
            migrations.upgrade(store)
        outcome = f"from version {before} to {newest}" if before else f"created at version {newest}"
        click.echo(f"{safe_address(store.url)}: {outcome}.")


def _show() -> int:
    settings = Settings.read()
    with _database_errors(), open_read_only(settings) as store:
        click.echo(f"database  {safe_address(database_url(settings))}")
        if store is None:
            click.echo(f"version   none yet: created at version {migrations.newest()} on first use")
            return OK
        return _show_version(store)


def _show_version(store: Store) -> int:
    found, newest = migrations.revision(store), migrations.newest()
    if found == newest:
        click.echo(f"version   {found}, the newest")
        return OK
    if found is not None and migrations.is_newer(found):
        click.echo(f"version   {found}, of a newer reelq; this one knows {newest}")
        click.echo("Update reelq on this machine.", err=True)
    else:
        click.echo(f"version   {found or 'none'}; this reelq works with {newest}")
        click.echo("Run `reelq db upgrade`.", err=True)
    return FAILED


@contextmanager
def _database_errors() -> Iterator[None]:
    """Turn database errors into a message of one line."""
    try:
        yield
    except SettingsError:
        raise
    except Exception as error:
        if not (message := database_message(error)):
            raise
        raise click.ClickException(f"The database can't be used: {message}\n{_ADVICE}") from None
