"""`reelq db`: where the database is, which version it has, and bringing it to the newest."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from reelq.cli.exits import FAILED, OK
from reelq.cli.interrupts import held_back
from reelq.errors import SettingsError
from reelq.settings import Settings
from reelq.store import schema
from reelq.store.looking import looking, shown, trouble
from reelq.store.session import Store, database_url

_ADVICE = "Is it running, and REELQ_DATABASE_URL right? `reelq doctor` looks at both."


@click.group("db", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Show the database: where it is, and whether its version is the one that this reelq works with.

    \b
    Example: reelq db upgrade
    Exit code: 0 if it can be worked with, 1 if it needs an upgrade or can't be
    reached.
    """
    if context.invoked_subcommand is None:
        sys.exit(_show())


@command.command("upgrade")
def upgrade() -> None:
    """Bring the database to the newest version. Nothing is lost, and several may do so at once.

    \b
    Example: reelq db upgrade
    """
    with _in_words():
        store = Store(database_url(Settings.read()))
        try:
            click.echo(_upgraded(store))
        finally:
            store.close()


def _upgraded(store: Store) -> str:
    before, newest = schema.revision(store), schema.newest()
    if before == newest:
        return f"{shown(store.url)} is at version {newest} already: nothing to do."
    with held_back():
        schema.make_current(store)
    return f"{shown(store.url)}: " + (
        f"from version {before} to {newest}." if before else f"made, at version {newest}."
    )


def _show() -> int:
    settings = Settings.read()
    with _in_words(), looking(settings) as store:
        click.echo(f"database  {shown(database_url(settings))}")
        if store is None:
            click.echo(f"version   none yet: it is made, at version {schema.newest()}, when work begins")
            return OK
        return _show_version(store)


def _show_version(store: Store) -> int:
    found, newest = schema.revision(store), schema.newest()
    if found == newest:
        click.echo(f"version   {found}, the newest")
        return OK
    if found is not None and schema.is_newer(found):
        click.echo(f"version   {found}, of a newer reelq; this one knows {newest}")
        click.echo("Update reelq on this machine.", err=True)
    else:
        click.echo(f"version   {found or 'none'}; this reelq works with {newest}")
        click.echo("Run `reelq db upgrade`.", err=True)
    return FAILED


@contextmanager
def _in_words() -> Iterator[None]:
    """What a database says for itself, in a line."""
    try:
        yield
    except SettingsError:
        raise
    except Exception as error:
        if not (words := trouble(error)):
            raise
        raise click.ClickException(f"The database can't be used: {words}\n{_ADVICE}") from None
