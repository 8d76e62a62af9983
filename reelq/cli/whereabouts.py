"""Where what a user names is: with a service, in the database of real work or in that of the sandbox; none mix."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, TypeVar

import click

from reelq.cli import play
from reelq.cli.deployment import OWNER, Deployment, deployment
from reelq.cli.here import Here, InDatabase
from reelq.cli.named import Known, Named, batch_named
from reelq.cli.queue import Queue
from reelq.errors import UnknownName
from reelq.settings import Settings, web_address

_IDS: Final = ("bat_", "job_")

F = TypeVar("F", bound=Callable[..., Any])
Ask = Callable[[Known, str], Named]


def of_sandbox(command: F) -> F:
    """The option of commands that take a name."""
    words = "Look among the batches of `run --sandbox`; their ids are known without it."
    return click.option("--sandbox", is_flag=True, help=words)(command)


def of_service(command: F) -> F:
    """The option of commands that also work with a service that is somewhere else."""
    words = "The reelq service to ask, if not REELQ_API_URL; the key to it is REELQ_API_KEY."
    return click.option("--api", metavar="URL", callback=_address, help=words)(command)


def _address(_context: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    try:
        return web_address(value) if value else None
    except ValueError:
        raise click.BadParameter("it takes an address that begins with http:// or https://") from None


def service_of(settings: Settings, api: str | None, *, sandbox: bool = False) -> str | None:
    """The address of the service that is meant; None where the work is that of this machine."""
    if sandbox and api:
        raise click.UsageError("--sandbox looks on this machine, --api elsewhere: give one of them.")
    return None if sandbox else api or settings.reelq_api_url


@contextmanager
def queue_of(ask: Ask, word: str, *, sandbox: bool = False, api: str | None = None) -> Iterator[tuple[Queue, Named]]:
    """What the word names, and the queue that has it."""
    settings = Settings.read()
    address = service_of(settings, api, sandbox=sandbox)
    if address is None:
        with whereabouts(ask, word, sandbox=sandbox, settings=settings) as (made, meant):
            yield Here(made), meant
        return
    from reelq.cli.away.queue import away  # not imported for those who work here

    with away(address, settings) as queue:
        yield queue, ask(queue, word)


@contextmanager
def whereabouts(
    ask: Ask, word: str, *, sandbox: bool = False, settings: Settings | None = None
) -> Iterator[tuple[Deployment, Named]]:
    """What the word names, and the deployment that has it.

    Names and `last` mean real work, unless the sandbox is asked for; an id is unique, and found in either.
    """
    settings = settings or Settings.read()
    with ExitStack() as stack:
        made = stack.enter_context(opened(settings, sandbox=sandbox))
        try:
            meant = ask(InDatabase(made.store, OWNER), word)
        except UnknownName as unknown:
            if settings.reelq_api_url and not sandbox:
                unknown.advice += " This command looks on this machine alone, and not at REELQ_API_URL."
            if sandbox or not play.is_there(settings):
                raise
            if not word.startswith(_IDS):
                unknown.advice += " `--sandbox` looks among those of the sandbox."
                raise
            made = stack.enter_context(opened(settings, sandbox=True))
            meant = _asked_there(ask, InDatabase(made.store, OWNER), word, unknown)
        yield made, meant


def _asked_there(ask: Ask, known: Known, word: str, unknown: UnknownName) -> Named:
    """Unknown there as well, it is told as it was first, and what is near is real work; but for a row of play."""
    try:
        return ask(known, word)
    except UnknownName as there:
        raise (there if _has_batch(known, word.partition(":")[0]) else unknown) from None


def _has_batch(known: Known, word: str) -> bool:
    with suppress(UnknownName):
        return bool(batch_named(known, word).batch_id)
    return False


@contextmanager
def opened(settings: Settings, *, sandbox: bool) -> Iterator[Deployment]:
    """The one or the other; play that was never begun is not made by being looked for."""
    if sandbox and not play.is_there(settings):
        raise UnknownName("Nothing was run with the sandbox yet", "`reelq run MANIFEST --sandbox` does.")
    with deployment(play.kept(settings) if sandbox else settings, is_play=sandbox) as made:
        yield made
